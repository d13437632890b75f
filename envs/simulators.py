"""The real simulators, told apart by the names of their tasks (none is imported here)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sfvgen_plan.envs import tasks as metaworld
from sfvgen_plan.envs.memory import tasks as memory
from sfvgen_plan.envs.rlbench import tasks as rlbench
from sfvgen_plan.errors import UserError, unknown_name


@dataclass(frozen=True)
class RealSimulator:
    """Where tasks are played.

    Attributes:
        title: what its tasks are called in messages.
        prefix: that the names of its tasks begin with.
        canonical: the full name of a task; a UserError if there is none.
        tasks: all of them, by full names.
        suites: task sets, by full names.
        action_dim: numbers in a default action.
    """

    title: str
    prefix: str
    canonical: Callable[[str], str]
    tasks: tuple[str, ...]
    suites: Mapping[str, tuple[str, ...]]
    action_dim: int


def _metaworld_or_near(name: str) -> str:
    """As Metaworld's own; but whoever left the prefix out may mean a task of any simulator."""
    name = str(name)  # None or a number is told of as any other unknown name
    if name in metaworld.TASKS or name.startswith(metaworld.PREFIX):
        return metaworld.canonical(name)
    raise unknown_name("task", name, task_names(), metaworld.without_prefix, f"{__name__}.task_names()")


METAWORLD = RealSimulator(
    "Metaworld's tasks", metaworld.PREFIX, _metaworld_or_near, tuple(metaworld.TASKS), metaworld.SUITES, 4
)
RLBENCH = RealSimulator(
    "RLBench's tasks",
    rlbench.PREFIX,
    rlbench.canonical,
    tuple(rlbench.PREFIX + task for task in sorted((*rlbench.TASKS, *rlbench.MADE))),
    {suite: tuple(rlbench.PREFIX + task for task in tasks) for suite, tasks in rlbench.SUITES.items()},
    7,
)
MEMORY = RealSimulator("the memory tasks", memory.PREFIX, memory.canonical, tuple(memory.TASKS), memory.SUITES, 4)

SIMULATORS = (METAWORLD, MEMORY, RLBENCH)


def simulator_of(task: str) -> RealSimulator:
    """Where ``task`` is played. Names without a prefix are Metaworld's."""
    return next((simulator for simulator in SIMULATORS if str(task).startswith(simulator.prefix)), METAWORLD)


def task_names() -> list[str]:
    """Full names of the tasks of all simulators."""
    return [task for simulator in SIMULATORS for task in simulator.tasks]


def metaworld_task(name: str, verb: str) -> str:
    """The plain name of one of Metaworld's tasks, for a ``verb`` of the command line that knows no others.

    Raises:
        UserError: there is no such task, or another simulator has it.
    """
    simulator = simulator_of(name)
    if simulator is METAWORLD:
        return metaworld.canonical(name)
    full = simulator.canonical(name)
    raise UserError(
        f"task={full!r} is one of {simulator.title}, and {verb} is for {METAWORLD.title}; give one of those, such as "
        f"{metaworld.SUITES['metaworld-10'][0]}"
    )
