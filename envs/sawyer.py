"""Metaworld's Sawyer table, which the memory tasks share: its numbers, and environments on it, drawn by MuJoCo."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.data.sources import Source
from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.envs.family import StateLayout
from sfvgen_plan.envs.rendering import FrameRenderer, check_camera, gl_backend
from sfvgen_plan.errors import UserError

ACTION_SIZE = 4  # x, y, z displacement of the hand, and the gripper's closing effort
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


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where an environment stood. Opaque and picklable."""

    task: str
    simulation: Any
    decisions: int
    latched: bool
    state: np.ndarray
    random_state: Mapping[str, Any]


class SawyerEnv(DecisionEnv):
    """One decision is one action (4,) in [-1, 1] held for ``repeat`` raw steps (1/80 s): the hand's x, y, z
    displacement (1 cm per raw step at 1) and the gripper's closing effort. Reward: mean of the raw rewards, 0 to 10.
    Never terminates.

    ``info["state"]`` is Metaworld's layout of numbers: twice hand, gripper, two objects with quaternions (now, one raw
    step earlier), then the goal. Copies and pickles are snapshots: they go on exactly like the original.
    """

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **settings: Any) -> SawyerEnv:
        """Also notes how to make another one."""
        env = super().__new__(cls)
        env._made_with = arguments, settings
        return env

    def __init__(self, task: str, simulate: Callable[[], Any], **frames: Any) -> None:
        """``simulate`` makes what has a MuJoCo ``model`` and ``data``; ``frames``: see ``DecisionEnv``. Raises
        UserError for an unknown camera, no OpenGL library, and those."""
        space = gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        super().__init__(task, space, RAW_STEPS_PER_SECOND, **frames)
        self._simulation = simulate()
        check_camera(self._simulation.model, self.camera)
        if self.pixels:
            gl_backend()
        # Made for the first frame: an environment that is only asked for its spaces opens no graphics.
        self._renderer: FrameRenderer | None = None
        self._state: np.ndarray | None = np.zeros(STATE_SIZE)

    @property
    def state(self) -> np.ndarray:
        """(39,) float64, a copy."""
        if self._state is None:
            self._state = self._numbers()  # not before: what is the goal now may depend on the decisions taken
        return self._state.copy()

    @property
    def estimates(self) -> np.ndarray:
        """True values of ``READOUTS``: (10,) float32."""
        return estimates_of(self.state)

    def snapshot(self) -> Snapshot:
        """The exact current moment; picklable, independent of this environment's future."""
        random_state = self.np_random.bit_generator.state
        return Snapshot(self.task, self._capture(), self._decisions, self._latched, self.state, random_state)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to ``snapshot``, which may come from another environment of the same task: what follows is the same
        bit for bit. Raises UserError: the snapshot is of another task, or none."""
        if not isinstance(snapshot, Snapshot):
            raise UserError(f"snapshot is of type {type(snapshot).__name__}; give what snapshot() returned")
        if snapshot.task != self.task:
            raise UserError(
                f"snapshot is of task {snapshot.task!r}, not {self.task!r}; restore it in an environment of its task"
            )
        self._recall(snapshot.simulation)
        self.np_random.bit_generator.state = snapshot.random_state
        self._decisions, self._latched, self._begun = snapshot.decisions, snapshot.latched, True
        self._state, self._frame = snapshot.state.copy(), None

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self._made_with, self.snapshot())

    def _play(self, action: np.ndarray) -> tuple[float, bool, bool, bool]:
        steps = [self._advance(action, raw_step == self.repeat - 1) for raw_step in range(self.repeat)]
        self._state = None
        rewards, solved = zip(*steps, strict=True)
        return sum(rewards) / self.repeat, any(solved), False, False

    def _draw(self) -> np.ndarray:
        if self._renderer is None:
            self._renderer = FrameRenderer(self._simulation.model, self.size, self.camera)
        return self._renderer.render(self._simulation.data)

    @abstractmethod
    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool]:
        """One raw step, ``last`` of its decision: reward, and whether the task is solved now."""

    @abstractmethod
    def _numbers(self) -> np.ndarray:
        """The state (39,) of a moment between decisions."""

    @abstractmethod
    def _capture(self) -> Any:
        """The simulation's exact moment, as a picklable value."""

    @abstractmethod
    def _recall(self, captured: Any) -> None:
        """The inverse of ``_capture``."""


def _made_again(
    kind: type[SawyerEnv], made_with: tuple[tuple[Any, ...], dict[str, Any]], snapshot: Snapshot
) -> SawyerEnv:
    env = kind(*made_with[0], **made_with[1])
    env.restore(snapshot)
    return env
