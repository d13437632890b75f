"""The real simulators, told apart by the names of their tasks (none is imported here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sfvgen_plan.envs import tasks as metaworld
from sfvgen_plan.envs.memory import tasks as memory
from sfvgen_plan.envs.rlbench import tasks as rlbench


@dataclass(frozen=True)
class RealSimulator:
    """Where tasks are played.

    Attributes:
        prefix: that the names of its tasks begin with.
        canonical: the full name of a task; a UserError if there is none.
        suites: task sets, by full names.
        action_dim: numbers in a default action.
    """

    prefix: str
    canonical: Callable[[str], str]
    suites: Mapping[str, tuple[str, ...]]
    action_dim: int


METAWORLD = RealSimulator(metaworld.PREFIX, metaworld.canonical, metaworld.SUITES, 4)
RLBENCH = RealSimulator(
    rlbench.PREFIX,
    rlbench.canonical,
    {suite: tuple(rlbench.PREFIX + task for task in tasks) for suite, tasks in rlbench.SUITES.items()},
    7,
)
MEMORY = RealSimulator(memory.PREFIX, memory.canonical, memory.SUITES, 4)

SIMULATORS = (METAWORLD, MEMORY, RLBENCH)


def simulator_of(task: str) -> RealSimulator:
    """Where ``task`` is played. Names without a prefix are Metaworld's."""
    return next((simulator for simulator in SIMULATORS if task.startswith(simulator.prefix)), METAWORLD)
