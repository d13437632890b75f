"""Errors of read-outs in centimetres."""

import numpy as np
import pytest

from sfvgen_plan.metrics.readouts import error_cm
from sfvgen_plan.simulation import STATE_NAMES


def test_distances_of_the_right_columns():
    truth = np.zeros((2, 3, len(STATE_NAMES)), np.float32)
    estimates = truth.copy()
    for name, error in {"hand_y": 0.03, "hand_z": 0.04, "object_x": -0.01, "gripper": 1.0}.items():
        estimates[..., STATE_NAMES.index(name)] = error
    np.testing.assert_allclose(error_cm("hand", estimates, truth), np.full((2, 3), 5.0), rtol=1e-5)
    np.testing.assert_allclose(error_cm("object", estimates, truth), np.full((2, 3), 1.0), rtol=1e-5)
    with pytest.raises(ValueError, match="can't be compared"):
        error_cm("hand", np.zeros((2, 10)), np.zeros((3, 10)))
