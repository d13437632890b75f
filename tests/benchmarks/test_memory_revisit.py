"""Episodes of ``memory/revisit``: what is shown and counts as a revisit, what each row imagines, and its scores."""

from dataclasses import replace

import numpy as np
import pytest

from sfvgen_plan.benchmarks.memory.returning import return_env
from sfvgen_plan.benchmarks.memory.revisit import Dream, imagine, revisit_env, score
from sfvgen_plan.benchmarks.memory.simulators import ROWS, simulator_of
from sfvgen_plan.benchmarks.memory.videos import comparison
from sfvgen_plan.envs.memory.make import make_memory
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.frames import MAX_PSNR
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import load_checkpoint

CHUNK = 8


def test_the_first_way_out_is_shown_and_revisits_of_it_are_known(episode):
    env = make_memory("memory/revisit", size=32, pixels=False)
    env.reset(seed=3)
    places = env.layout.places
    assert len(episode.frames) == len(places) == len(episode.actions) + 1
    assert np.allclose(places[episode.seen + 1], places[episode.seen - 1], atol=1e-6), "the turning point"
    assert 10 <= episode.seen <= 20
    assert len(episode.known) >= 10
    for first, again in episode.known:
        assert first <= episode.seen < again
        assert again - first >= CHUNK + 2
        assert np.allclose(places[first], places[again], atol=1e-6)
        assert np.abs(episode.frames[first].astype(int) - episode.frames[again]).max() <= 3


def test_a_camera_that_never_leaves_is_refused(memory_checkpoint):
    fixed = replace(memory_checkpoint, card=replace(memory_checkpoint.card, camera="corner4"))
    with pytest.raises(UserError, match="never leaves"):
        revisit_env(fixed)


def test_other_tasks_are_refused(small_checkpoint):
    other = load_checkpoint(small_checkpoint)
    with pytest.raises(UserError, match="memory/revisit"):
        revisit_env(other)
    with pytest.raises(UserError, match="memory/return"):
        return_env(other)


@pytest.mark.parametrize("row", [row for row in ROWS if row != "no_loop"])
def test_episodes_in_one_batch_come_out_as_alone(memory_checkpoint, episode, row):
    """Of different lengths, seen and imagined, one of which ends with a whole chunk."""
    simulator = simulator_of(memory_checkpoint, row, 1, ["steps=1"])
    simulator.exact = True

    def cut(seed, seen, rest):
        end = seen + rest
        return replace(episode, seed=seed, seen=seen, frames=episode.frames[: end + 1], actions=episode.actions[:end])

    episodes = [cut(1, 9, 11), cut(2, 6, 8), cut(3, 8, 3), cut(4, 9, 17)]
    together = imagine(simulator, episodes, CHUNK)
    for one, dream in zip(episodes, together, strict=True):
        (alone,) = imagine(simulator, [one], CHUNK)
        assert len(dream.frames) == len(dream.estimates) == len(one.actions) - one.seen
        assert np.abs(dream.frames.astype(int) - alone.frames).max() <= 1
        np.testing.assert_allclose(dream.estimates, alone.estimates, atol=1e-4)


def test_what_was_seen_early_reaches_the_dream_only_through_memory(memory_checkpoint, episode):
    """Without memory the first frames don't matter; with a fast memory they do."""
    changed = episode.frames.copy()
    changed[:CHUNK] = 255 - changed[:CHUNK]
    end = episode.seen + 9
    plain = replace(episode, frames=episode.frames[:end], actions=episode.actions[: end - 1])
    other = replace(plain, frames=changed[:end])
    for row, same in (("no_temp_lora", True), ("full", False)):
        simulator = simulator_of(memory_checkpoint, row, 1, ["learning_rate=0.05"])
        simulator.exact = True
        (first,), (second,) = imagine(simulator, [plain]), imagine(simulator, [other])
        assert np.array_equal(first.frames, second.frames) == same


def test_settings_that_no_memory_has_are_refused(memory_checkpoint):
    for changes, message in ((["rnk=3"], "rank"), (["rank=x"], "rank"), (["rank=0"], "rank")):
        with pytest.raises(UserError, match=message):
            simulator_of(memory_checkpoint, "full", 1, changes)
    with pytest.raises(UserError, match="full"):
        simulator_of(memory_checkpoint, "ful")


def perfect(episode):
    """A dream that is the truth."""
    after = slice(episode.seen + 1, None)
    return Dream(episode.frames[after].copy(), episode.estimates[after].copy())


@pytest.fixture(scope="module")
def toolbox(encoder):
    return Toolbox.open(32, encoder)


def test_the_truth_scores_perfectly(episode, toolbox):
    scores = score(episode, perfect(episode), toolbox)
    assert scores.psnr_revisit_db == MAX_PSNR
    assert scores.cosine_revisit == pytest.approx(1.0, abs=1e-5)
    assert scores.ssim_revisit == pytest.approx(1.0, abs=1e-5)
    assert scores.scene_cuts == scores.true_scene_cuts
    assert scores.hand_error_cm == scores.object_error_cm == 0.0
    assert scores.revisits == len(episode.known)
    assert scores.copy_psnr_db < 40


def test_only_revisits_count(episode, toolbox):
    """Nothing but black where there is no right picture changes nothing."""
    dream = perfect(episode)
    again = set(episode.known[:, 1] - episode.seen - 1)
    for number in range(len(dream.frames)):
        if number not in again:
            dream.frames[number] = 0
    scores = score(episode, dream, toolbox)
    assert scores.psnr_revisit_db == MAX_PSNR
    assert scores.cosine_revisit == pytest.approx(1.0, abs=1e-5)


def test_known_errors(episode, toolbox):
    dream = perfect(episode)
    wrong = Dream(np.full_like(dream.frames, 7), dream.estimates + 0.01)
    scores = score(episode, wrong, toolbox)
    truth = episode.frames[episode.known[:, 1]].astype(float)
    errors = np.square(truth - 7).mean((1, 2, 3))
    assert scores.psnr_revisit_db == pytest.approx((10 * np.log10(255**2 / errors)).mean(), abs=1e-3)
    assert scores.hand_error_cm == pytest.approx(3**0.5, rel=1e-3)
    assert scores.cosine_revisit < 1.0


def test_what_can_not_be_had_is_left_out(episode, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    toolbox = Toolbox.open(32)
    scores = score(episode, perfect(episode), toolbox)
    assert scores.cosine_revisit is scores.lpips_revisit is scores.src is None
    assert set(toolbox.left_out) == {"cosine", "frechet", "fvd", "lpips", "src"}
    assert "resnet18-f37072fd.pth" in toolbox.left_out["src"]
    assert "too small" in toolbox.left_out["lpips"]
    assert "alexnet" in Toolbox.open(64).left_out["lpips"]


def test_the_video_shows_four_pictures(episode):
    true, black = perfect(episode), Dream(np.zeros_like(perfect(episode).frames), perfect(episode).estimates)
    frames = list(comparison(episode, true, black))
    assert len(frames) == len(true.frames)
    side = frames[0].shape[1] // 2
    again = int(episode.known[-1, 1]) - episode.seen - 1
    picture = frames[again]
    bar = picture.shape[0] // 2 - side
    top, bottom = picture[bar : bar + side], picture[2 * bar + side :]
    assert np.abs(top[:, :side].astype(int) - top[:, side:]).max() <= 3, "first visit and revisit"
    assert np.array_equal(top[:, side:], bottom[:, :side])
    assert not bottom[:, side:].any()
