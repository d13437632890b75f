"""Goals of our own in Metaworld's scenes, judged on the true state, and the family that they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.metaworld.family import FAMILY as METAWORLD
from sfvgen_plan.envs.sawyer import LAYOUT, READOUTS, estimates_of

if TYPE_CHECKING:
    from torch import Tensor

    from sfvgen_plan.simulation import Outcome

HOLD = 5  # decisions in a row at whose ends a goal is met: passing by does not count
NEAR = 0.05  # metres from hand to object that count as being there
UNIT = 0.1  # metres that are worth one in the score of a plan


@dataclass(frozen=True)
class Goal:
    """What is wanted."""

    scene: str  # the Metaworld task in whose scene it is played
    instruction: str  # in words; agents that follow instructions are told the scene's
    wanted: Mapping[str, float]  # read-out -> its value in metres
    tolerance: float  # metres from it that are a success, once held
    from_goal: bool = False  # values are counted from the scene's own goal, which moves with what is in it
    moves: bool = True  # an object has to be moved, so the hand has to get there

    def gap(self, estimates: Any) -> Any:
        """Metres (...) from what is wanted, of read-outs (..., D), an array or a tensor, true or imagined ones."""
        square = 0.0
        for name, value in self.wanted.items():
            origin = _column(estimates, f"goal_{name[-1]}") if self.from_goal else 0.0
            square = square + (_column(estimates, name) - origin - value) ** 2
        return square**0.5

    def score(self, outcome: Outcome) -> Tensor:
        """What planners maximise, (N,): minus the mean gap of a plan, and half of the hand's way to the object."""
        missing = self.gap(outcome.estimates)
        if self.moves:
            hand, thing = (outcome.estimates[..., places] for places in (LAYOUT.hand, LAYOUT.object))
            missing = missing + 0.5 * ((hand - thing).norm(dim=-1) - NEAR).clamp_min(0.0)
        return -missing.mean(1) / UNIT


def _column(estimates: Any, name: str) -> Any:
    return estimates[..., READOUTS.index(name)]


GOALS = {
    "goals/puck-aside": Goal("push-v3", "push the puck to the right", {"object_x": 0.2, "object_y": 0.65}, 0.04),
    "goals/lift": Goal("push-v3", "lift the puck and hold it", {"object_z": 0.12}, 0.04),
    "goals/point": Goal(
        "reach-v3", "hold the hand at a point", {"hand_x": -0.2, "hand_y": 0.5, "hand_z": 0.3}, 0.04, moves=False
    ),
    "goals/drawer-half": Goal("drawer-close-v3", "close the drawer half-way", {"object_y": -0.08}, 0.02, True),
    "goals/door-ajar": Goal("door-open-v3", "open the door to 45 degrees", {"object_x": 0.31}, 0.04, True),
}
"""Task name -> goal. None is on the way of its scene's expert for as long as it must be held."""


def score_of(task: str) -> Callable[[Outcome], Tensor]:
    """What planners maximise in a task."""
    return GOALS[task].score


FAMILY = replace(
    METAWORLD,
    name="goals",
    title="goals of our own",
    env_id="sfvgen/Goals-v0",
    tasks={task: goal.instruction for task, goal in GOALS.items()},
    scenes={task: goal.scene for task, goal in GOALS.items()},
    objective=f"{__name__}:score_of",
    expert="",
    unplayed=tuple(GOALS),
)


class GoalEnv(MetaworldEnv):
    """A ``MetaworldEnv`` with a goal of ``GOALS``: success is that the gap was within the goal's tolerance at the ends
    of the last ``HOLD`` decisions; the reward is 10 at the goal, and less by 10 for every half metre."""

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
