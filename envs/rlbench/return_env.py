"""``rlbench/return``: ``memory/return`` on RLBench's table, with shapes that are created at run time."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.memory import return_task
from sfvgen_plan.envs.memory.parts import sub_goal_at
from sfvgen_plan.envs.memory.return_task import ReturnLayout, SubGoal, Workspace, draw_layout
from sfvgen_plan.envs.real import observed
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.family import FAMILY, is_made
from sfvgen_plan.envs.rlbench.worker import MADE_TASK
from sfvgen_plan.errors import UserError

NAME = FAMILY.prefix + MADE_TASK
TABLE_HEIGHT = 0.75
WORKSPACE = Workspace(
    low=(0.06, -0.30),
    high=(0.42, 0.30),
    height=TABLE_HEIGHT + return_task.OBJECT_SIZE / 2,
    directions={
        "to the left": (0.0, -1.0),
        "to the right": (0.0, 1.0),
        "to the front": (1.0, 0.0),
        "to the back": (-1.0, 0.0),
    },
)
"""Where the arm reaches the table from above. The directions are those of the front camera's picture, which looks at
the robot: the front is away from it."""

_MASS = 0.2
_PRIMITIVES = {"cube": "CUBOID", "puck": "CYLINDER"}


class RLBenchReturnEnv(RLBenchEnv):
    """Objects are moved away one after the other, and then have to be put back where they were.

    Objects, sub-goals, schedule, metric and thresholds are those of ``memory/return`` (``return_task``); everything
    else is ``RLBenchEnv``'s. ``task_low_dim_state`` has the objects' poses, seven numbers each. Reward: 1 after a
    decision that leaves every object moved and back, else 0. Truncates when the last sub-goal's time is up, or after
    ``max_decisions``. ``info`` also has what ``MemoryReturnEnv`` adds, and ``descriptions`` are the sub-goals.

    Args:
        task: "return", with or without the "rlbench/" prefix.
        objects: 1 to 3, or None: every seed draws it.
        max_decisions: None leaves the length to the task.
        arguments: the rest, see ``RLBenchEnv``.

    Raises:
        UserError: another task, a number of objects out of range, and what ``RLBenchEnv`` refuses.
    """

    made = True

    def __init__(
        self, task: str = NAME, *, objects: int | None = None, max_decisions: int | None = None, **arguments: Any
    ) -> None:
        return_task.check_objects(objects)
        self._count, self._limit = objects, max_decisions
        self._layout: ReturnLayout | None = None
        self._moved = np.zeros(0, bool)
        super().__init__(task, max_decisions=1 if max_decisions is None else max_decisions, **arguments)

    @property
    def layout(self) -> ReturnLayout:
        """What the episode is.

        Raises:
            UserError: there is none yet.
        """
        if self._layout is None:
            raise UserError("there is no episode yet; call reset first")
        return self._layout

    @property
    def sub_goal(self) -> SubGoal:
        """What the next decision works on."""
        return self.layout.sub_goals[sub_goal_at(self.layout.schedule, self.decisions)]

    def positions(self) -> np.ndarray:
        """(n, 3) centres of the objects, metres."""
        return self._low_dim.reshape(-1, 7)[:, :3].copy()

    def demonstrate(self, seed: int, variation: int | None = None) -> Any:
        """RLBench's planner knows nothing of this task.

        Raises:
            UserError: always.
        """
        raise UserError(f"task={NAME!r} has no demonstrations by RLBench; use another task")

    def _arrange(self, seed: int) -> dict[str, Any]:
        layout = self._layout = draw_layout(np.random.default_rng(seed), WORKSPACE, self._count)
        self._moved = np.zeros(len(layout.objects), bool)
        self.max_decisions = min(layout.decisions, self._limit or layout.decisions)
        return {
            "things": [
                {
                    "shape": _PRIMITIVES[thing.shape],
                    "size": [return_task.OBJECT_SIZE] * 3,
                    "mass": _MASS,
                    "color": list(return_task.COLOURS[thing.colour]),
                    "position": place.tolist(),
                }
                for thing, place in zip(layout.objects, layout.places, strict=True)
            ]
        }

    def _begin(self, answer: dict[str, Any], variation: int) -> None:
        super()._begin(answer, variation)
        self.instruction = return_task.INSTRUCTION

    def _judge(self, answer: dict[str, Any]) -> tuple[float, bool]:
        self._moved = self.layout.moved(self.positions(), self._moved)
        solved = self.layout.success(self.positions(), self._moved)
        return float(solved), solved

    def _info(self) -> dict[str, Any]:
        facts = self.layout.facts(self.positions(), self._moved, self.decisions)
        return super()._info() | facts | {"descriptions": facts["sub_goals"]}


def make_rlbench(task: str, **arguments: Any) -> gym.Env[np.ndarray, np.ndarray]:
    """``sfvgen/RLBench-v0``: an ``RLBenchEnv``, or an ``RLBenchReturnEnv`` for "return"; or what a checkpoint makes of
    its frames, see ``observed``."""
    return observed(RLBenchReturnEnv if is_made(FAMILY.canonical(task)) else RLBenchEnv, task, **arguments)
