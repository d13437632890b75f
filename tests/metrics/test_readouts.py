"""Errors of read-outs in centimetres."""

import numpy as np
import pytest

from sfvgen_plan.metrics.readouts import hand_error_cm, object_error_cm
from sfvgen_plan.simulation import STATE_NAMES


def test_distances_of_the_right_columns():
    truth = np.zeros((2, 3, len(STATE_NAMES)), np.float32)
    estimates = truth.copy()
    estimates[..., STATE_NAMES.index("hand_y")] = 0.03
    estimates[..., STATE_NAMES.index("hand_z")] = 0.04
    estimates[..., STATE_NAMES.index("object_x")] = -0.01
    estimates[..., STATE_NAMES.index("gripper")] = 1.0
    np.testing.assert_allclose(hand_error_cm(estimates, truth), np.full((2, 3), 5.0), rtol=1e-5)
    np.testing.assert_allclose(object_error_cm(estimates, truth), np.full((2, 3), 1.0), rtol=1e-5)


def test_other_read_outs_are_refused():
    with pytest.raises(ValueError, match="can't be compared"):
        hand_error_cm(np.zeros((2, 10)), np.zeros((3, 10)))
