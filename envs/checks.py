"""What environments, real and imagined, refuse."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.errors import UserError, unknown_name

RESET_OPTIONS = ("frames",)


def check_at_least_one(**numbers: int) -> None:
    """Refuse numbers below 1, and what is no whole number. Raises UserError: names the first of them."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise UserError(f"{name}={value!r} is no whole number; give at least 1")
        if value < 1:
            raise UserError(f"{name}={value} is too small; give at least 1")


def checked_actions(
    actions: Any, kind: Actions, count: int | None = None, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Vectors (A,) float32 in [-1, 1] of an action of the space of ``kind``, or (N, A) of those of N = ``count``
    environments; numbers beyond its bounds are clipped. ``ignored`` (N,) bool: environments that take no action now,
    whatever theirs is. Raises UserError: no numbers, another shape, a number that is not finite, or none of the
    discrete actions."""
    try:
        values = np.array(actions, dtype=np.float32)
    except (TypeError, ValueError):
        text = repr(actions)
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise UserError(f"action={shown} is no array of numbers; give values in [-1, 1]") from None
    shape = (*(() if count is None else (count,)), *(kind.space.shape or ()))
    if values.shape != shape:
        raise UserError(f"action has shape {values.shape}; this environment takes {shape}")
    if ignored is not None:
        values[ignored] = getattr(kind.space, "start", 0.0)
    if not np.isfinite(values).all():
        raise UserError("action holds NaN or infinity; give finite numbers")
    if isinstance(kind.space, gym.spaces.Discrete):
        first, last = int(kind.space.start), int(kind.space.start + kind.space.n - 1)
        if (values != values.round()).any() or values.min() < first or values.max() > last:
            raise UserError(f"action={values.tolist()} is no whole number from {first} to {last}; give one")
    return kind.inside(values)


def checked_frames(options: Mapping[str, Any], shape: tuple[int, int, int], episodes: int) -> np.ndarray | None:
    """Start frames (episodes, P, H, W, 3) uint8 of the reset options, or None; (H, W, 3) is the ``shape``. Frames (P,
    H, W, 3) or (H, W, 3) in the options are those of all episodes. Raises UserError: an unknown option, or frames of
    another shape or type."""
    for name in options:
        if name not in RESET_OPTIONS:
            raise unknown_name("options", name, RESET_OPTIONS)
    if "frames" not in options:
        return None
    frames = np.asarray(options["frames"])
    known = frames.ndim in (3, 4) or (frames.ndim == 5 and len(frames) == episodes)
    if not known or frames.shape[-3:] != shape or not frames.size:
        sides = f"{shape[0]}, {shape[1]}"
        raise UserError(
            f"frames have shape {frames.shape}; the checkpoint's are ({sides}, 3), (P, {sides}, 3) or "
            f"({episodes}, P, {sides}, 3)"
        )
    if frames.dtype != np.uint8:
        raise UserError(f"frames have type {frames.dtype}; give uint8 in [0, 255]")
    if frames.ndim == 3:
        frames = frames[None]
    return frames if frames.ndim == 5 else np.repeat(frames[None], episodes, axis=0)


def checked_seed(seed: Any) -> int:
    """A seed that Gymnasium takes. Raises UserError: it is no whole number from 0."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise UserError(f"seed={seed!r} is no whole number from 0; give one, or a list of one for each environment")
    return int(seed)
