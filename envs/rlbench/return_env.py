"""``rlbench/return``: ``memory/return`` on RLBench's table, with shapes that are created at run time."""

from typing import Any

import numpy as np

from sfvgen_plan.envs.memory import return_task
from sfvgen_plan.envs.memory.parts import COLOURS, LaidOutEnv
from sfvgen_plan.envs.memory.return_task import ReturnLayout, SubGoal, Workspace, draw_layout
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.family import FAMILY, MADE, is_made
from sfvgen_plan.errors import UserError

NAME = FAMILY.prefix + MADE[0]
TABLE_HEIGHT = 0.75
WORKSPACE = Workspace(
    low=(0.06, -0.30),
    high=(0.42, 0.30),
    height=TABLE_HEIGHT + return_task.OBJECT_SIZE / 2,
    directions=return_task.WORKSPACE.directions,
)
"""Where the arm reaches the table from above. The directions are those of the front camera's picture, which looks at
the robot: the front is away from it."""

_PRIMITIVES = {"cube": "CUBOID", "puck": "CYLINDER"}


class RLBenchReturnEnv(LaidOutEnv, RLBenchEnv):
    """Objects are moved away one after the other, and then have to be put back where they were.

    Objects, sub-goals, schedule, metric and thresholds are those of ``memory/return`` (``return_task``); everything
    else is ``RLBenchEnv``'s. ``task_low_dim_state`` has the objects' poses, seven numbers each. Reward: 1 after a
    decision that leaves every object moved and back, else 0. Truncates when the last sub-goal's time is up, or after
    ``max_decisions``. ``info`` also has what ``MemoryReturnEnv`` adds.

    Args:
        task: "return", with or without the "rlbench/" prefix.
        max_decisions: None leaves the length to the task.
        arguments: the rest, see ``RLBenchEnv``.

    Raises:
        UserError: another task, and what ``RLBenchEnv`` refuses.
    """

    made = True

    def __init__(self, task: str = NAME, max_decisions: int | None = None, **arguments: Any) -> None:
        super().__init__(task, max_decisions=max_decisions, **arguments)

    @property
    def sub_goal(self) -> SubGoal:
        """What the next decision works on."""
        layout: ReturnLayout = self.layout
        return layout.sub_goals[self.sub_goal_index]

    def positions(self) -> np.ndarray:
        """(n, 3) centres of the objects, metres."""
        return self._low_dim.reshape(-1, 7)[:, :3].copy()

    def demonstrate(self, seed: int) -> Any:
        """RLBench's planner knows nothing of this task. Raises UserError: always."""
        raise UserError(f"task={NAME!r} has no demonstrations by RLBench; use another task")

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        super()._build(scene, options)
        self.instruction = return_task.INSTRUCTION

    def _lay_out(self, seed: int) -> ReturnLayout:
        return draw_layout(np.random.default_rng(seed), WORKSPACE)

    def _arrange(self, scene: int) -> dict[str, Any]:
        layout = self._layout = self._lay_out(scene)
        self.moved = np.zeros(len(layout.objects), np.bool_)
        things = [
            {
                "shape": _PRIMITIVES[thing.shape],
                "size": [return_task.OBJECT_SIZE] * 3,
                "mass": return_task.MASS,
                "color": list(COLOURS[thing.colour]),
                "position": place.tolist(),
            }
            for thing, place in zip(layout.objects, layout.places, strict=True)
        ]
        return {"things": things}

    def _judge(self, answer: dict[str, Any]) -> tuple[float, bool]:
        self.moved = self.layout.moved(self.positions(), self.moved)
        solved = self.layout.success(self.positions(), self.moved)
        return float(solved), solved

    def _info(self, success: bool) -> dict[str, Any]:
        return super()._info(success) | {"distance": self.layout.distance(self.positions(), self.moved)}


def rlbench_env(task: str, **arguments: Any) -> RLBenchEnv:
    """An ``RLBenchReturnEnv`` for "return", an ``RLBenchEnv`` for every other task."""
    return (RLBenchReturnEnv if is_made(FAMILY.canonical(task)) else RLBenchEnv)(task, **arguments)
