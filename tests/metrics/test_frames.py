"""PSNR against its definition."""

import numpy as np
import pytest

from sfvgen_plan.metrics import MAX_PSNR, psnr


def test_known_values_for_frames():
    first = np.zeros((3, 2, 4, 4, 3), np.uint8)
    second = np.full_like(first, 255)
    second[1] = 0
    second[2] = 16
    expected = [0.0, MAX_PSNR, 24.0485]  # 20 log10(255 / 16)
    assert psnr(first, second).shape == (3, 2)
    assert psnr(first, second)[:, 0] == pytest.approx(expected, abs=1e-3)


def test_frames_of_different_shape_are_not_compared():
    with pytest.raises(ValueError, match="can't be compared"):
        psnr(np.zeros((4, 4, 3)), np.zeros((5, 4, 3)))
