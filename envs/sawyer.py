"""The numbers of Metaworld's Sawyer table, which the memory tasks share."""

from __future__ import annotations

import numpy as np

from sfvgen_plan.data.sources import Source
from sfvgen_plan.envs.family import StateLayout

ACTION_SIZE = 4
"""x, y, z displacement of the hand, and the gripper's closing effort."""

STATE_SIZE = 39
HALF_STATE = 18
"""Hand, gripper, two objects with quaternions. The state has them now and one raw step earlier, then the goal."""

LAYOUT = StateLayout(hand=slice(0, 3), object=slice(4, 7), goal=slice(36, 39), half=HALF_STATE)

RAW_STEPS_PER_SECOND = 80

READOUTS = (
    "hand_x", "hand_y", "hand_z", "gripper", "object_x", "object_y", "object_z", "goal_x", "goal_y", "goal_z",
)  # fmt: skip
"""Metres in the world frame; gripper opening in [0, 1]."""

SOURCE = Source(READOUTS, reward_scale=10.0, raw_steps_per_second=RAW_STEPS_PER_SECOND)


def estimates_of(state: np.ndarray) -> np.ndarray:
    """State (39,) -> ``READOUTS`` (10,) float32."""
    values = np.concatenate([state[: LAYOUT.object.stop], state[LAYOUT.goal]])
    values[3] = np.clip(values[3], 0.0, 1.0)
    return values.astype(np.float32)
