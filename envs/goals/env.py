"""Metaworld's scenes with goals of our own, judged on the true state."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfvgen_plan.envs.goals.family import FAMILY, GOALS, HOLD
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.sawyer import estimates_of


class GoalEnv(MetaworldEnv):
    """A ``MetaworldEnv`` with a goal of ``envs.goals.family``: success is that the gap was within the goal's tolerance
    at the ends of the last ``HOLD`` decisions; the reward is 10 at the goal, and less by 10 for every half metre.

    Args and Raises: see ``MetaworldEnv``; ``task`` is one of ``GOALS``.
    """

    def __init__(self, task: str, **arguments: Any) -> None:
        name = FAMILY.canonical(task)
        self.goal, self._held = GOALS[name], 0
        super().__init__(self.goal.scene, **arguments)
        self.task, self.instruction = name, self.goal.instruction

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        self._held = 0
        super()._build(scene, options)

    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool]:
        super()._advance(action, last)
        gap = float(self.goal.gap(estimates_of(self._observed)))
        if last:
            self._held = self._held + 1 if gap < self.goal.tolerance else 0
        return max(0.0, 10.0 - 20.0 * gap), last and self._held >= HOLD

    def _capture(self) -> Any:
        return super()._capture(), self._held

    def _recall(self, captured: Any) -> None:
        simulation, self._held = captured
        super()._recall(simulation)
