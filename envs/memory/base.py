"""What the memory tasks share: an episode is a layout, drawn from the seed, on the Sawyer table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv, check_at_least_one
from sfvgen_plan.envs.memory.parts import facts_at, sub_goal_at
from sfvgen_plan.envs.memory.scene import SawyerScene
from sfvgen_plan.envs.sawyer import HALF_STATE
from sfvgen_plan.errors import UserError


class MemoryEnv(DecisionEnv):
    """Frames, actions and ``info`` are ``MetaworldEnv``'s, with ``sub_goals`` (all texts), ``sub_goal`` (the current
    text) and ``sub_goal_index`` besides; ``reward_terms`` is empty. Object and goal in ``state`` are those that the
    task is about now.

    Subclasses give the task's name, its instruction and the methods at the end. A layout has a ``schedule``, and
    ``_kept`` is what they keep of the episode beside the scene, a value.
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
        check_at_least_one(max_decisions=1 if max_decisions is None else max_decisions)
        super().__init__(scene, size, camera, repeat, render_mode, pixels)
        self.scene, self.max_decisions = scene, max_decisions
        self._layout: Any = None
        self._kept: Any = None
        self._before = np.zeros(HALF_STATE)

    @property
    def layout(self) -> Any:
        """What the episode is.

        Raises:
            UserError: there is none yet.
        """
        if self._layout is None:
            raise UserError("there is no episode yet; call reset first")
        return self._layout

    @property
    def length(self) -> int:
        """Decisions until truncation: the layout's, or ``max_decisions`` if they are fewer."""
        decisions = sum(decisions for _, decisions in self.layout.schedule)
        return min(decisions, self.max_decisions or decisions)

    @property
    def sub_goal_index(self) -> int:
        """Which sub-goal the next decision works on."""
        return sub_goal_at(self.layout.schedule, self._decisions)

    def _build(self, seed: int) -> np.ndarray:
        self._layout = self._draw(np.random.default_rng(seed))
        self._place()
        self._before = self._half_state()
        return self._numbers()

    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool, Mapping[str, Any]]:
        if last:
            self._before = self._half_state()
        self.scene.advance(action)
        return *self._judge(), {}

    def _numbers(self) -> np.ndarray:
        return np.concatenate([self._half_state(), self._before, self._goal()])

    def _half_state(self) -> np.ndarray:
        return np.concatenate([self.scene.hand, [self.scene.gripper], self._object(), np.zeros(7)])

    def _info(self, success: bool, terms: dict[str, float]) -> dict[str, Any]:
        return super()._info(success, terms) | facts_at(self.layout.schedule, self._decisions) | self._facts()

    def _capture(self) -> Any:
        return None if self._layout is None else (self._layout, self.scene.physics(), self._kept)

    def _recall(self, captured: Any) -> None:
        self._layout = None
        if captured is not None:
            self._layout, physics, kept = captured
            self._place()
            self.scene.restore(physics)
            self._kept = kept

    @abstractmethod
    def _draw(self, generator: np.random.Generator) -> Any:
        """A layout: an immutable, picklable value."""

    @abstractmethod
    def _place(self) -> None:
        """Put the scene and ``_kept`` into the start of ``self._layout``, where nothing has happened."""

    @abstractmethod
    def _object(self) -> np.ndarray:
        """(7,): position and quaternion of the object that the task is about now."""

    @abstractmethod
    def _goal(self) -> np.ndarray:
        """(3,) metres."""

    @abstractmethod
    def _judge(self) -> tuple[float, bool]:
        """After a raw step: reward 0 to 10, and whether the task is solved now."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What ``info`` has beside the usual."""
