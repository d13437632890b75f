"""Errors of the state read-outs, in centimetres."""

from __future__ import annotations

import numpy as np

from sfvgen_plan.simulation import STATE_NAMES

HAND, OBJECT = ([STATE_NAMES.index(f"{thing}_{axis}") for axis in "xyz"] for thing in ("hand", "object"))


def hand_error_cm(estimates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance (...) between the hand's place read out of imagined frames and the true one, both (..., D)."""
    return _distance_cm(estimates, truth, HAND)


def object_error_cm(estimates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same of the object."""
    return _distance_cm(estimates, truth, OBJECT)


def _distance_cm(estimates: np.ndarray, truth: np.ndarray, columns: list[int]) -> np.ndarray:
    if estimates.shape != truth.shape or estimates.shape[-1] != len(STATE_NAMES):
        raise ValueError(f"read-outs of shape {estimates.shape} and {truth.shape} can't be compared")
    return 100 * np.linalg.norm(estimates[..., columns] - truth[..., columns], axis=-1)
