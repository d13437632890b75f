"""Actions of RLBench environments: seven numbers, and how they become what the worker is sent."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

MAX_DISPLACEMENT = 0.05  # metres that the tip moves along an axis at 1
MAX_TURN = 0.25  # radians that the tip turns about an axis at 1
WORKSPACE_LOW = np.array([-0.275, -0.655, 0.752])
WORKSPACE_HIGH = np.array([0.775, 0.655, 1.752])  # RLBench's workspace in metres
BOX = gym.spaces.Box(-1.0, 1.0, (7,), np.float32)  # displacement dx dy dz, rotation vector, gripper (above 0 opens)


def command(action: np.ndarray, tip: np.ndarray) -> list[float]:
    """What the worker is sent for an action (7,) in [-1, 1] with the tip at (3,) metres: displacement (3,) in metres,
    cut at the workspace's border, unit quaternion xyzw (4,), gripper (1 opens)."""
    values = action.astype(np.float64)
    target = tip + MAX_DISPLACEMENT * values[:3]
    # A tip that is outside already may stay there, but goes no further.
    inside = np.clip(target, np.minimum(WORKSPACE_LOW, tip), np.maximum(WORKSPACE_HIGH, tip))
    turn = MAX_TURN * values[3:6]
    angle = float(np.linalg.norm(turn))
    # sin(angle / 2) / angle, which is 1 / 2 at 0.
    quaternion = np.append(0.5 * np.sinc(angle / (2 * np.pi)) * turn, np.cos(angle / 2))
    return [float(number) for number in (*(inside - tip), *quaternion, values[6] > 0)]
