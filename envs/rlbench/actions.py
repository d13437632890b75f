"""Actions of RLBench environments: their boxes, and how they become what the worker is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.decisions import as_numbers
from sfvgen_plan.errors import UserError, unknown_name

MAX_DISPLACEMENT = 0.05
"""Metres that the tip moves along an axis at 1."""
MAX_TURN = 0.25
"""Radians that the tip turns about an axis at 1."""
MAX_JOINT_VELOCITY = 1.0
"""Radians per second at 1."""
WORKSPACE_LOW = np.array([-0.275, -0.655, 0.752])
WORKSPACE_HIGH = np.array([0.775, 0.655, 1.752])
"""RLBench's workspace in metres; it refuses to plan outside."""

_SMALLEST_QUATERNION = 1e-6


class Command(NamedTuple):
    """What the worker is sent: (8,) numbers in RLBench's format; ``clipped`` when the workspace cut the motion."""

    numbers: list[float]
    clipped: bool


@dataclass(frozen=True)
class ActionMode:
    """One way to act: ``to_command(action, tip position (3,))``.

    Attributes:
        box: the action space.
        layout: what the numbers of an action are, for messages.
        to_command: from an action inside the box.
        repeats: whether an action may be held for several simulator steps; the others take as long as they need.
    """

    box: gym.spaces.Box
    layout: str
    to_command: Callable[[np.ndarray, np.ndarray], Command]
    repeats: bool = False


def action_mode(name: str) -> ActionMode:
    """The mode with that name.

    Raises:
        UserError: there is none.
    """
    if name not in ACTION_MODES:
        raise unknown_name("action_mode", name, ACTION_MODES)
    return ACTION_MODES[name]


def checked_action(action: np.ndarray, mode: ActionMode) -> np.ndarray:
    """``action`` as float64, clipped to the mode's box.

    Raises:
        UserError: no numbers, wrong shape, or a number that is not finite.
    """
    values = as_numbers(action).astype(np.float64)
    if values.shape != mode.box.shape:
        raise UserError(f"action has shape {values.shape}; give {mode.box.shape}: {mode.layout}")
    if not np.isfinite(values).all():
        raise UserError(f"action={values.tolist()} has a number that is not finite; give {mode.layout}")
    return np.clip(values, mode.box.low.astype(np.float64), mode.box.high.astype(np.float64))


def _delta(action: np.ndarray, tip: np.ndarray) -> Command:
    target = tip + MAX_DISPLACEMENT * action[:3]
    # A tip that is outside already may stay there, but goes no further.
    low, high = np.minimum(WORKSPACE_LOW, tip), np.maximum(WORKSPACE_HIGH, tip)
    inside = np.clip(target, low, high)
    numbers = [*(inside - tip), *_quaternion(MAX_TURN * action[3:6]), float(action[6] > 0)]
    return Command([float(number) for number in numbers], bool((inside != target).any()))


def _pose(action: np.ndarray, tip: np.ndarray) -> Command:
    length = float(np.linalg.norm(action[3:7]))
    if length < _SMALLEST_QUATERNION:
        raise UserError(f"action={action.tolist()} has a quaternion of length 0; give one of length 1, x y z w")
    inside = np.clip(action[:3], WORKSPACE_LOW, WORKSPACE_HIGH)
    numbers = [*inside, *(action[3:7] / length), float(action[7] > 0.5)]
    return Command([float(number) for number in numbers], bool((inside != action[:3]).any()))


def _joint_velocity(action: np.ndarray, tip: np.ndarray) -> Command:
    numbers = [*(MAX_JOINT_VELOCITY * action[:7]), float(action[7] > 0)]
    return Command([float(number) for number in numbers], clipped=False)


def _quaternion(vector: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) in radians -> unit quaternion xyzw."""
    angle = float(np.linalg.norm(vector))
    # sin(angle / 2) / angle, which is 1 / 2 at 0.
    scale = 0.5 * np.sinc(angle / (2 * np.pi))
    return np.append(scale * vector, np.cos(angle / 2))


_DELTA = ActionMode(
    gym.spaces.Box(-1.0, 1.0, (7,), np.float32),
    "7 numbers in [-1, 1]: dx dy dz, rotation vector, gripper (above 0 opens)",
    _delta,
)
# Positions far outside are let in: they are clipped to the workspace, and that is counted.
_POSE = ActionMode(
    gym.spaces.Box(
        np.array([-2, -2, -2, -1, -1, -1, -1, 0], np.float32), np.array([2, 2, 2, 1, 1, 1, 1, 1], np.float32)
    ),
    "8 numbers: x y z in metres, quaternion x y z w, gripper in [0, 1] (above 0.5 opens)",
    _pose,
)
_JOINT_VELOCITY = ActionMode(
    gym.spaces.Box(-1.0, 1.0, (8,), np.float32),
    "8 numbers in [-1, 1]: seven joint velocities, gripper (above 0 opens)",
    _joint_velocity,
    repeats=True,
)

ACTION_MODES = {
    "delta": _DELTA,
    "delta_ik": _DELTA,
    "delta_planning": _DELTA,
    "pose_ik": _POSE,
    "pose_planning": _POSE,
    "joint_velocity": _JOINT_VELOCITY,
}
"""Small steps of the tip with our controller, RLBench's inverse kinematics or its planner; absolute poses with the last
two; joint velocities. The worker knows them under the same names."""
