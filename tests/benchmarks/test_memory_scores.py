"""Scores of revisits: the truth is perfect, errors have their size, what is missing is left out."""

import numpy as np
import pytest

from sfvgen_plan.benchmarks.memory.revisit import Dream, score
from sfvgen_plan.benchmarks.memory.videos import comparison
from sfvgen_plan.metrics.frames import MAX_PSNR
from sfvgen_plan.metrics.toolbox import Toolbox


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
