"""What the memory tasks share beside ``DecisionEnv``: layouts drawn from seeds, judging, snapshots."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv, check_at_least_one, checked_action
from sfvgen_plan.envs.memory.scene import SawyerScene, SceneSnapshot
from sfvgen_plan.envs.sawyer import HALF_STATE


@dataclass(frozen=True, eq=False)
class MemorySnapshot:
    """Where a memory task stood. Opaque and picklable."""

    task: str
    layout: Any
    scene: SceneSnapshot
    decisions: int
    latched: bool
    state: np.ndarray
    random_state: Mapping[str, Any]
    extra: Any


class MemoryEnv(DecisionEnv):
    """An episode is a layout, drawn from the seed, on the Sawyer table.

    Subclasses give the task's name, its instruction and the methods at the end. ``reward_terms`` is empty.
    """

    def __init__(
        self,
        scene: SawyerScene,
        size: int = 128,
        camera: str = "corner4",
        repeat: int = 5,
        max_decisions: int | None = None,
        render_mode: str | None = "rgb_array",
        pixels: bool = True,
    ) -> None:
        check_at_least_one(size=size, repeat=repeat, max_decisions=1 if max_decisions is None else max_decisions)
        super().__init__(scene, size, camera, repeat, render_mode, pixels)
        self.scene, self.max_decisions = scene, max_decisions
        self._layout: Any = None

    @property
    def layout(self) -> Any:
        """What the episode is."""
        return self._layout

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. The same seed gives the same one, whatever was played before; without a seed, the next of
        the random sequence that the last seed began."""
        super().reset(seed=seed)
        layout_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._decisions, self._latched, self._frame = 0, False, None
        self._layout = self._draw(np.random.default_rng(layout_seed))
        self._place()
        now = self._half_state()
        self._state = np.concatenate([now, now, self._goal()])
        return self._observe(), self._told(success=False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold ``action`` (4,) for ``repeat`` raw steps; values outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        held = checked_action(action)
        rewards, success, before = [], False, self._state[:HALF_STATE]
        for raw_step in range(self.repeat):
            if raw_step == self.repeat - 1:
                before = self._half_state()
            self.scene.advance(held)
            reward, solved = self._judge()
            rewards.append(reward)
            success |= solved
        self._decisions += 1
        self._latched |= success
        self._frame = None
        self._decided()
        self._state = np.concatenate([self._half_state(), before, self._goal()])
        truncated = self._decisions >= min(self.length, self.max_decisions or self.length)
        return self._observe(), sum(rewards) / self.repeat, False, truncated, self._told(success)

    def snapshot(self) -> MemorySnapshot:
        """The exact current moment; picklable, independent of this environment's future."""
        return MemorySnapshot(
            self.task,
            self._layout,
            self.scene.snapshot(),
            self._decisions,
            self._latched,
            self.state,
            self.np_random.bit_generator.state,
            self._remembered(),
        )

    def restore(self, snapshot: MemorySnapshot) -> None:
        """Return to ``snapshot``, which may come from another environment of the same task.

        Raises:
            UserError: the snapshot is of another task, or none.
        """
        self._check_snapshot(snapshot, MemorySnapshot)
        self._layout = snapshot.layout
        self._place()
        self.scene.restore(snapshot.scene)
        self.np_random.bit_generator.state = snapshot.random_state
        self._decisions, self._latched = snapshot.decisions, snapshot.latched
        self._state, self._frame = snapshot.state.copy(), None
        self._recall(snapshot.extra)

    def _half_state(self) -> np.ndarray:
        return np.concatenate([self.scene.hand, [self.scene.gripper], self._objects()])

    def _told(self, success: bool) -> dict[str, Any]:
        return self._info(success, {}) | self._facts()

    @property
    @abstractmethod
    def length(self) -> int:
        """Decisions of the layout; the episode is truncated then, or after ``max_decisions``."""

    @abstractmethod
    def _draw(self, generator: np.random.Generator) -> Any:
        """A layout: an immutable, picklable value."""

    @abstractmethod
    def _place(self) -> None:
        """Put the scene into the start of ``self._layout``."""

    @abstractmethod
    def _objects(self) -> np.ndarray:
        """(14,): position and quaternion of two objects, zeros where there is none."""

    @abstractmethod
    def _goal(self) -> np.ndarray:
        """(3,) metres, zeros where there is none."""

    @abstractmethod
    def _judge(self) -> tuple[float, bool]:
        """After a raw step: reward 0 to 10, and whether the task is solved now."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What ``info`` has beside the usual."""

    def _decided(self) -> None:
        """Called once a decision is over."""

    def _remembered(self) -> Any:
        """What the task keeps of the episode beside the scene, as a value."""
        return None

    def _recall(self, extra: Any) -> None:
        """The inverse of ``_remembered``."""
