"""Scene cuts in made-up videos."""

import numpy as np
import pytest

from sfvgen_plan.metrics.scenes import scene_cuts

pytest.importorskip("scenedetect")


def test_cuts_are_counted():
    scenes = [(30, 60, 90), (200, 40, 40), (30, 60, 90), (20, 200, 20)]
    video = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in scenes]).repeat(40, axis=0)
    assert scene_cuts(video[:40]) == 0
    assert scene_cuts(video[:80]) == 1
    assert scene_cuts(video) == 3
    assert scene_cuts(video[:0]) == 0


def test_slow_changes_are_no_cut():
    fade = np.linspace(0, 200, 60).astype(np.uint8)
    assert scene_cuts(np.tile(fade[:, None, None, None], (1, 16, 16, 3))) == 0


def test_as_pyscenedetect_finds_them_in_the_file(tmp_path):
    """The same number as its own reading of the video, for a video that compression leaves nearly alone."""
    from scenedetect import ContentDetector, detect

    from sfvgen_plan.video import write_mp4

    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (5, 1, 1, 3))
    video = np.broadcast_to(colours[:, None], (5, 20, 64, 64, 3)).reshape(-1, 64, 64, 3).astype(np.uint8)
    write_mp4(tmp_path / "video.mp4", video)
    scenes = detect(str(tmp_path / "video.mp4"), ContentDetector())
    assert scene_cuts(video) == max(0, len(scenes) - 1) > 0
