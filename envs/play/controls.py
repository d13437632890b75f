"""Actions that go where the picture shows: left and right, near and away, up and down, as the camera sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.rendering import ROTATED_CAMERAS
from sfvgen_plan.envs.sawyer import ACTION_SIZE

OPEN, CLOSED = -1.0, 1.0
"""The gripper's effort, last number of an action."""

MOVES = ("left", "right", "away", "near", "up", "down", "stay")


@dataclass(frozen=True)
class Controls:
    """Which way the hand has to go in the world to go right or away in the picture.

    Attributes:
        right, away: horizontal unit vectors (2,), x and y; at right angles to each other.
    """

    right: np.ndarray
    away: np.ndarray

    @classmethod
    def of(cls, env: MetaworldEnv) -> Controls:
        """For the camera of ``env`` as it stands now."""
        camera = env.raw.model.camera(env.camera).id
        axes = np.asarray(env.raw.data.cam_xmat[camera]).reshape(3, 3)  # columns: right, up, backwards
        right = -axes[:2, 0] if env.camera in ROTATED_CAMERAS else axes[:2, 0]
        length = float(np.linalg.norm(right))
        # A camera that lies on its side has no horizontal right; any pair of axes will do.
        right = right / length if length > 0.1 else np.array([1.0, 0.0])
        away = np.array([-right[1], right[0]])
        # Turned with the picture, this way is away from the camera, unless it hangs upside down.
        return cls(right, away if away @ -axes[:2, 2] >= 0 else -away)

    def action(self, move: str, strength: float = 1.0, gripper: float = OPEN) -> np.ndarray:
        """The action (4,) of a move in ``MOVES``, with ``strength`` in (0, 1] of the fastest.

        Its largest number is ``strength``, so that a diagonal takes no longer than it must.
        """
        x, y, z = {
            "left": (*-self.right, 0.0),
            "right": (*self.right, 0.0),
            "away": (*self.away, 0.0),
            "near": (*-self.away, 0.0),
            "up": (0.0, 0.0, 1.0),
            "down": (0.0, 0.0, -1.0),
            "stay": (0.0, 0.0, 0.0),
        }[move]
        largest = max(abs(x), abs(y), abs(z), 1e-6)
        action = np.zeros(ACTION_SIZE, np.float32)
        action[:3] = np.array([x, y, z]) * (strength / largest)
        action[3] = gripper
        return action
