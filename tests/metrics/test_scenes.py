"""Scene cuts in made-up videos."""

import numpy as np
import pytest

from sfvgen_plan.metrics import scene_cuts

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
