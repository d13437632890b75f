"""Errors of the state read-outs, in centimetres."""

from __future__ import annotations

import numpy as np

from sfvgen_plan.simulation import STATE_NAMES

PLACES = {
    thing: slice(STATE_NAMES.index(f"{thing}_x"), STATE_NAMES.index(f"{thing}_z") + 1) for thing in ("hand", "object")
}
"""Where the read-outs (..., D) hold the place of the hand and of the object."""


def error_cm(thing: str, estimates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance (...) between the place of ``thing`` read out of imagined frames and the true one, both (..., D).

    Raises:
        ValueError: the shapes differ.
    """
    if estimates.shape != truth.shape:
        raise ValueError(f"read-outs of shape {estimates.shape} and {truth.shape} can't be compared")
    return 100 * np.linalg.norm(estimates[..., PLACES[thing]] - truth[..., PLACES[thing]], axis=-1)
