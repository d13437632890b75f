"""Errors of the state read-outs, in centimetres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def error_cm(thing: str, estimates: np.ndarray, truth: np.ndarray, readouts: Sequence[str]) -> np.ndarray:
    """Distance (...) between the place of ``thing`` read out of imagined frames and the true one, both (..., D) in
    metres. ``readouts`` names the D numbers, "hand_x" and so on. Raises ValueError: the shapes differ, or nothing of
    that name is read out.
    """
    if estimates.shape != truth.shape:
        raise ValueError(f"read-outs of shape {estimates.shape} and {truth.shape} can't be compared")
    names = [f"{thing}_{axis}" for axis in "xyz"]
    if missing := sorted(set(names) - set(readouts)):
        raise ValueError(f"{', '.join(missing)} is not read out, but {', '.join(readouts)}")
    place = [readouts.index(name) for name in names]
    return 100 * np.linalg.norm(estimates[..., place] - truth[..., place], axis=-1)
