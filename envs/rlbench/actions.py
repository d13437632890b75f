"""Actions of RLBench environments: seven numbers, and how they become what the worker is sent."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.decisions import as_numbers
from sfvgen_plan.errors import UserError

MAX_DISPLACEMENT = 0.05
"""Metres that the tip moves along an axis at 1."""
MAX_TURN = 0.25
"""Radians that the tip turns about an axis at 1."""
WORKSPACE_LOW = np.array([-0.275, -0.655, 0.752])
WORKSPACE_HIGH = np.array([0.775, 0.655, 1.752])
"""RLBench's workspace in metres."""

BOX = gym.spaces.Box(-1.0, 1.0, (7,), np.float32)
LAYOUT = "7 numbers in [-1, 1]: dx dy dz, rotation vector, gripper (above 0 opens)"


class Command(NamedTuple):
    """What the worker is sent: displacement (3,) in metres, unit quaternion xyzw (4,), gripper (1 opens); ``clipped``
    when the workspace cut the motion."""

    numbers: list[float]
    clipped: bool


def command(action: np.ndarray, tip: np.ndarray) -> Command:
    """The command for an action (7,), which is clipped to ``BOX``, with the tip at (3,) metres.

    Raises:
        UserError: no numbers, wrong shape, or a number that is not finite.
    """
    values = as_numbers(action).astype(np.float64)
    if values.shape != BOX.shape:
        raise UserError(f"action has shape {values.shape}; give {BOX.shape}: {LAYOUT}")
    if not np.isfinite(values).all():
        raise UserError(f"action={values.tolist()} has a number that is not finite; give {LAYOUT}")
    values = np.clip(values, -1.0, 1.0)
    target = tip + MAX_DISPLACEMENT * values[:3]
    # A tip that is outside already may stay there, but goes no further.
    inside = np.clip(target, np.minimum(WORKSPACE_LOW, tip), np.maximum(WORKSPACE_HIGH, tip))
    turn = MAX_TURN * values[3:6]
    angle = float(np.linalg.norm(turn))
    # sin(angle / 2) / angle, which is 1 / 2 at 0.
    quaternion = np.append(0.5 * np.sinc(angle / (2 * np.pi)) * turn, np.cos(angle / 2))
    numbers = [*(inside - tip), *quaternion, values[6] > 0]
    return Command([float(number) for number in numbers], bool((inside != target).any()))
