"""What the imagined environments, single and vector, refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.decisions import as_numbers
from sfvgen_plan.errors import UserError, unknown_name

RESET_OPTIONS = ("frames",)


def checked_actions(actions: Any, space: gym.Space[Any], ignored: np.ndarray | None = None) -> np.ndarray:
    """A float32 copy of an action, or of those of N environments, clipped to [-1, 1].

    Args:
        actions: of the shape of ``space``.
        ignored: (N,) bool, environments that take no action now; theirs becomes zero, whatever it is.

    Raises:
        UserError: no numbers, another shape, or a number that is not finite.
    """
    values = as_numbers(actions)
    if values.shape != space.shape:
        raise UserError(f"action has shape {values.shape}; this environment takes {space.shape}")
    if ignored is not None:
        values[ignored] = 0.0
    if not np.isfinite(values).all():
        raise UserError("action holds NaN or infinity; give values in [-1, 1]")
    return values.clip(-1.0, 1.0)


def checked_frames(options: Mapping[str, Any], size: int, episodes: int) -> np.ndarray | None:
    """Start frames (episodes, P, size, size, 3) uint8 of the reset options, or None. Frames (P, size, size, 3) or
    (size, size, 3) in the options are those of all episodes.

    Raises:
        UserError: an unknown option, or frames of another shape or type.
    """
    for name in options:
        if name not in RESET_OPTIONS:
            raise unknown_name("options", name, RESET_OPTIONS)
    if "frames" not in options:
        return None
    frames = np.asarray(options["frames"])
    known = frames.ndim in (3, 4) or (frames.ndim == 5 and len(frames) == episodes)
    if not known or frames.shape[-3:] != (size, size, 3) or not frames.size:
        raise UserError(
            f"frames have shape {frames.shape}; the checkpoint's are ({size}, {size}, 3), (P, {size}, {size}, 3) or "
            f"({episodes}, P, {size}, {size}, 3)"
        )
    if frames.dtype != np.uint8:
        raise UserError(f"frames have type {frames.dtype}; give uint8 in [0, 255]")
    if frames.ndim == 3:
        frames = frames[None]
    return frames if frames.ndim == 5 else np.repeat(frames[None], episodes, axis=0)


def checked_seed(seed: Any) -> int:
    """A seed that Gymnasium takes.

    Raises:
        UserError: it is no whole number from 0.
    """
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise UserError(f"seed={seed!r} is no whole number from 0; give one, or a list of one for each environment")
    return int(seed)
