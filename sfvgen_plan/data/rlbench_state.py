"""The numbers that describe a moment of an RLBench episode, laid out the same for every task."""

import numpy as np

from sfvgen_plan.data.sources import Source

TASK_PREFIX = "rlbench/"  # of RLBench's tasks wherever they stand beside others
LOW_DIM_SIZE = 128
"""Numbers kept of RLBench's own task state, whose width differs between tasks; shorter ones are padded with zeros."""
STATE_SIZE = 15 + LOW_DIM_SIZE  # tip position and quaternion xyzw (7), gripper (1), joint angles (7), task state

ESTIMATE_NAMES = (
    "hand_x", "hand_y", "hand_z", "gripper",
    "x_axis_x", "x_axis_y", "x_axis_z", "y_axis_x", "y_axis_y", "y_axis_z", "object_x", "object_y", "object_z",
)  # fmt: skip
"""State read-outs of RLBench tasks: the tip in metres, gripper opening in [0, 1], the directions of the tip's x and y
axes in the world, and where the thing is, in metres, that the task's own state names first: the target, the button, the
drawer."""

LICENCE = (
    "RLBench, Copyright Imperial College London, made available for use under licence from Imperial College London "
    "(RLBench licence agreement): solely non-commercial, internal or academic research. RLBench is the source of these "
    "data. Use what is made from them under the same terms, keep this notice with it, and give Imperial College London "
    "a copy of any publication that shows results or data from them (clause 2(f)). Source: James, Ma, Rovick Arrojo, "
    "Davison, RLBench: The Robot Learning Benchmark & Learning Environment, IEEE RA-L 2020."
)
SOURCE = Source(ESTIMATE_NAMES, reward_scale=1.0, raw_steps_per_second=10, licence=LICENCE)

MIRRORED_ESTIMATES = (1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0)
"""Signs that turn ``ESTIMATE_NAMES`` into those of the scene seen in a mirror at y = 0, whose tip has its y axis turned
round to stay right-handed."""
MIRRORED_ACTION = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0)
"""The same for actions: displacement, rotation vector (an axial one), gripper."""


def pack_state(pose: np.ndarray, opening: np.ndarray | float, joints: np.ndarray, low_dim: np.ndarray) -> np.ndarray:
    """Poses (..., 7), gripper (...,), joint angles (..., 7) and task state (..., D) -> (..., STATE_SIZE) float64.

    A task state of more than ``LOW_DIM_SIZE`` numbers is cut.
    """
    kept = low_dim[..., :LOW_DIM_SIZE]
    state = np.zeros((*np.shape(opening), STATE_SIZE))
    state[..., :7], state[..., 7], state[..., 8:15] = pose, opening, joints
    state[..., 15 : 15 + kept.shape[-1]] = kept
    return state


def estimates_of(state: np.ndarray) -> np.ndarray:
    """State (..., STATE_SIZE) -> ``ESTIMATE_NAMES`` (..., 13) float32."""
    x, y, z, w = np.moveaxis(state[..., 3:7], -1, 0)
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w))
    second = (2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w))
    turned = np.stack([*first, *second], axis=-1)
    return np.concatenate([state[..., :3], state[..., 7:8], turned, state[..., 15:18]], axis=-1).astype(np.float32)
