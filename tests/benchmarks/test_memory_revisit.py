"""Episodes of ``memory/revisit``: what is shown and counts as a revisit, what is imagined of it, and its scores."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sfvgen_plan.benchmarks.memory import revisit
from sfvgen_plan.benchmarks.memory.ablation import Ablated
from sfvgen_plan.benchmarks.memory.parts import subjects_of
from sfvgen_plan.benchmarks.memory.revisit import check_leaves, drift_row, imagine, revisit_row, walked_round
from sfvgen_plan.cli import main
from sfvgen_plan.envs.memory.family import memory_env
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import MAX_PSNR
from sfvgen_plan.metrics.encoder import VideoEncoder
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.video import BAR_HEIGHT


def test_the_first_way_out_is_shown_and_revisits_of_it_are_known(episode):
    env = memory_env("memory/revisit", size=32, pixels=False)
    env.reset(seed=3)
    places = env.layout.places
    assert len(episode.frames) == len(places) == len(episode.actions) + 1
    assert np.allclose(places[episode.seen + 1], places[episode.seen - 1], atol=1e-6), "the turning point"
    assert 10 <= episode.seen <= 20
    assert np.abs(episode.frames[0].astype(int) - episode.frames[episode.seen]).mean() > 10
    assert len(episode.known) >= 10
    for first, again in episode.known:
        assert first <= episode.seen < again
        assert again - first >= 10
        assert np.allclose(places[first], places[again], atol=1e-6)
        assert np.abs(episode.frames[first].astype(int) - episode.frames[again]).max() <= 3


def test_a_path_that_is_walked_round_shows_the_same_again(episode):
    walked, round_ = walked_round(episode, 10, 250), len(episode.actions)
    assert len(walked.frames) == len(walked.actions) + 1 == episode.seen + 251
    places = np.cumsum(walked.actions[:, :2].astype(float), axis=0)
    for first, again in walked.pairs:
        assert again - first >= 10 and np.allclose(places[first - 1] if first else 0, places[again - 1], atol=1e-5)
        assert np.abs(walked.frames[first].astype(int) - walked.frames[again]).max() <= 3
    assert np.array_equal(walked.pairs[walked.pairs[:, 1] < round_], episode.pairs[episode.pairs[:, 1] < round_])
    late = walked.pairs[walked.pairs[:, 1] > round_ + episode.seen]
    assert len(late) == 250 - round_, "all is known after the first round"
    found = drift_row("row", walked, perfect(walked))
    assert found.psnr_db == found.psnr_seen_db == found.psnr_begin_db == MAX_PSNR


def test_rows_are_named_after_the_kind_of_memory_and_others_refused(
    memory_checkpoint, make_memory_folder, small_checkpoint
):
    recall, none = (load_checkpoint(make_memory_folder(kind)) for kind in ("recall", None))
    told = [(s.row, s.checkpoint.hash, s.simulator().memory) for s in subjects_of([memory_checkpoint, recall])]
    own = memory_checkpoint.hash
    assert told == [("recall", recall.hash, True), ("temp_lora", own, True), ("no_memory", own, False)]
    assert [(s.row, s.checkpoint.hash) for s in subjects_of([none])] == [("no_memory", none.hash)]
    assert subjects_of([recall, none])[-1].checkpoint is none
    with pytest.raises(UserError, match="second one of 'recall'"):
        subjects_of([recall, recall])
    small = load_checkpoint(small_checkpoint)
    with pytest.raises(UserError, match="camera='corner4'"):
        subjects_of([recall, small])
    with pytest.raises(UserError, match="memory/revisit"):
        check_leaves(small)
    with pytest.raises(UserError, match="never leaves"):
        check_leaves(replace(memory_checkpoint, card=replace(memory_checkpoint.card, camera="corner4")))


def test_episodes_in_one_batch_come_out_as_alone(memory_checkpoint, episode):
    """Of different lengths, seen and imagined."""

    def cut(seed, seen, rest):
        end = seen + rest
        return replace(episode, seed=seed, seen=seen, frames=episode.frames[: end + 1], actions=episode.actions[:end])

    episodes = [cut(1, 9, 11), cut(2, 6, 8), cut(3, 8, 3), cut(4, 9, 17)]
    written = [Ablated(row, memory_checkpoint, 0.1, 2) for row in ("original_temp_lora", "no_local_rule")]
    for subject in [*subjects_of([memory_checkpoint]), *written]:
        simulator = subject.simulator(1)
        for one, dream in zip(episodes, imagine(simulator, episodes, subject.learning(4)), strict=True):
            (alone,) = imagine(simulator, [one], subject.learning(1))
            assert len(dream) == len(one.actions) - one.seen
            assert np.abs(dream.astype(int) - alone).max() <= 1


def test_what_was_seen_early_reaches_the_dream_only_through_memory(memory_checkpoint, episode):
    changed = episode.frames.copy()
    changed[:8] = 255 - changed[:8]
    end = episode.seen + 9
    plain = replace(episode, frames=episode.frames[:end], actions=episode.actions[: end - 1])
    other = replace(plain, frames=changed[:end])
    for subject in subjects_of([memory_checkpoint]):
        (first,), (second,) = (imagine(subject.simulator(), [seen]) for seen in (plain, other))
        assert np.array_equal(first, second) != subject.remembers


@pytest.mark.usefixtures("short_episodes")
def test_a_picture_of_what_memory_is_worth(memory_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(revisit, "GAP", 10)
    out = tmp_path / "memory.png"
    options = ["--checkpoint", str(memory_folder), "--device", "cpu", "--seed", "3", "--picture", str(out)]
    assert main(["bench", "memory", *options]) == 0
    shown = np.asarray(Image.open(out).convert("RGB"))
    tall, wide = revisit.SIDE + BAR_HEIGHT, revisit.SIDE
    assert shown.shape == (4 * tall, revisit.PLACES * wide, 3)
    first, remembered, forgotten, true = (shown[row * tall + BAR_HEIGHT : (row + 1) * tall, :wide] for row in range(4))
    assert np.array_equal(first, true) and not np.array_equal(remembered, true)
    assert not np.array_equal(remembered, forgotten)


def perfect(episode):
    """A dream that is the truth."""
    return episode.frames[episode.seen + 1 :].copy()


@pytest.fixture(scope="module")
def encoder():
    return VideoEncoder.load()


def test_the_truth_scores_perfectly_and_only_revisits_count(episode, encoder):
    dream = perfect(episode)
    again = set(episode.known[:, 1] - episode.seen - 1)
    black = dream.copy()
    black[[number for number in range(len(dream)) if number not in again]] = 0
    for found in (revisit_row("row", episode, frames, encoder) for frames in (dream, black)):
        assert (found.row, found.episode, found.psnr_revisit_db) == ("row", episode.seed, MAX_PSNR)
        assert found.cosine_revisit == pytest.approx(1.0, abs=1e-5)
    found = revisit_row("row", episode, np.full_like(perfect(episode), 7), encoder)
    errors = np.square(episode.frames[episode.known[:, 1]].astype(float) - 7).mean((1, 2, 3))
    assert found.psnr_revisit_db == pytest.approx((10 * np.log10(255**2 / errors)).mean(), abs=1e-3)
    assert found.cosine_revisit < 0.99
