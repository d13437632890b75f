"""Errors of read-outs in centimetres."""

import numpy as np
import pytest

from sfvgen_plan.metrics import error_cm

NAMES = ("gripper", "object_x", "object_y", "object_z", "hand_z", "hand_x", "hand_y")


def test_distances_of_the_columns_that_are_named_so():
    truth = np.zeros((2, 3, len(NAMES)), np.float32)
    estimates = truth.copy()
    for name, error in {"hand_y": 0.03, "hand_z": 0.04, "object_x": -0.01, "gripper": 1.0}.items():
        estimates[..., NAMES.index(name)] = error
    np.testing.assert_allclose(error_cm("hand", estimates, truth, NAMES), np.full((2, 3), 5.0), rtol=1e-5)
    np.testing.assert_allclose(error_cm("object", estimates, truth, NAMES), np.full((2, 3), 1.0), rtol=1e-5)
    with pytest.raises(ValueError, match="can't be compared"):
        error_cm("hand", np.zeros((2, 7)), np.zeros((3, 7)), NAMES)
    with pytest.raises(ValueError, match="cup_x"):
        error_cm("cup", estimates, truth, NAMES)
