"""Simulator families: everything that the rest of the project asks about a simulator, by the names of its tasks.

A family is one ``Family`` object. Those of this package are listed in ``MODULES``; others call ``register`` in a module
that the environment variable ``SFVGEN_FAMILIES`` names (several are separated by commas), so that every process of a
command knows them. Nothing here imports a simulator or torch: what is made is named as "module:attribute" and imported
when it is first made.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from sfvgen_plan.data.sources import Source
from sfvgen_plan.errors import UserError, reason, unknown_name

MODULES = (
    "sfvgen_plan.envs.metaworld.family",
    "sfvgen_plan.envs.goals",
    "sfvgen_plan.envs.memory.family",
    "sfvgen_plan.envs.rlbench.family",
)
"""Each has its family as ``FAMILY``."""

VARIABLE = "SFVGEN_FAMILIES"
OF_GYMNASIUM = "gym:"  # before the id of any environment of Gymnasium, which is a family of its own (envs.gym)

Entry = str | Callable[..., Any]
"""Something to call: itself, or "module:attribute"; an empty string where there is nothing."""


@dataclass(frozen=True)
class StateLayout:
    """Places of the state vector that experts and behaviours use, positions in metres."""

    # three numbers each
    hand: slice
    object: slice
    goal: slice
    half: int  # numbers of one moment; the same numbers of the raw step before follow them


@dataclass(frozen=True)
class Family:
    """A simulator and its tasks.

    Attributes:
        name: "metaworld"; its tasks may be called "metaworld/<task>" everywhere.
        title: the simulator's name in messages.
        env_id: Gymnasium id. The environment takes ``task``, ``size``, ``camera``, ``repeat``, ``max_decisions`` and
            ``pixels``, and has ``task`` and ``instruction`` as attributes.
        version: package and version that episodes come from, as rows of results name it.
        build: words for the build of the simulator on this machine if it is not the usual one, and results are others.
        tasks: full task name -> instruction.
        source: what training has to know of its episodes.
        action_dim: numbers in an action, each in [-1, 1].
        displacement: metres that the hand is to move along an axis where one of an action's first three numbers is 1;
            0 where actions are no displacements.
        camera: of training episodes unless something else is asked for, as the next three.
        size: side of the frames in pixels.
        repeat: raw steps per decision.
        decisions: of an episode (at most, where a task ends by itself).
        linger: decisions that such an episode goes on after its first success; None: to its end.
        layout: of the state; None where it has no object and goal.
        expert: ``expert(task)`` makes an ``EnvAgent`` that solves the task.
        play: the agent that usually plays training episodes, by its name in ``agents.registry``.
        unplayed: tasks that no training episodes can be played of.
        controls: ``controls(env)`` gives the ``Controls`` that play it by hand; where there are none it can't be.
        true_simulator: ``true_simulator(task, repeat)`` makes the ``Simulator`` that the oracle plans in.
        examine: ``examine()`` says what the simulator needs on this machine: (name, whether it is there,
            detail, and False for what it can do without).
        drawing: ``drawing()`` raises a ``UserError`` where frames can't be drawn in this process.
        fixed_repeat: whether ``repeat`` has no other value.
        own_observations: whether the environment has what its simulator observes, as ``observation``.
        scenes: task -> the task of another family in whose scene it is played, which is what a checkpoint knows of it.
        objective: ``objective(task)`` gives the function that scores an ``Outcome`` for planners; where there is none
            they add up reward, success and value.
    """

    name: str
    title: str
    env_id: str
    version: str
    tasks: Mapping[str, str]
    source: Source
    action_dim: int
    camera: str
    displacement: float = 0.0
    size: int = 128
    build: str = ""
    repeat: int = 1
    decisions: int = 100
    linger: int | None = None
    layout: StateLayout | None = None
    expert: Entry = ""
    play: str = "sfvgen_plan.agents.behaviour:Scripted"
    unplayed: tuple[str, ...] = ()
    controls: Entry = ""
    true_simulator: Entry = ""
    examine: Entry = ""
    drawing: Entry = ""
    fixed_repeat: bool = False
    own_observations: bool = False
    scenes: Mapping[str, str] = field(default_factory=dict)
    objective: Entry = ""

    @property
    def prefix(self) -> str:
        """What the names of its tasks may begin with."""
        return f"{self.name}/"

    def canonical(self, name: str) -> str:
        """The full name of a task, given with or without the prefix. Raises UserError: there is no such task; the
        message lists the nearest names."""
        plain = str(name).removeprefix(self.prefix)
        for full in (plain, self.prefix + plain):
            if full in self.tasks:
                return full
        raise unknown_name("task", str(name), self.tasks, _last_part, f"{__name__}.family({self.name!r}).tasks")

    def check_drawing(self) -> None:
        """Refuse a process that can't draw frames, before anything slow. Raises UserError: what is missing, and the
        remedy."""
        if self.drawing:
            resolve(self.drawing)()

    def make(self, task: str, **arguments: Any) -> Any:
        """The environment of a task, without the wrappers that check how it is used."""
        import gymnasium

        import sfvgen_plan.envs  # noqa: F401 - registers the environments

        spec = replace(gymnasium.spec(self.env_id), order_enforce=False)
        return gymnasium.make(spec, disable_env_checker=True, task=self.canonical(task), **arguments)


def resolve(entry: Entry) -> Callable[..., Any]:
    """What an entry of a family names, imported if need be."""
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


_registered: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Make a family known in this process; one registered before under the same name is replaced."""
    _registered[family.name] = family


def families() -> tuple[Family, ...]:
    """All families, those of this package first. Modules that ``SFVGEN_FAMILIES`` names may lie in the current folder.
    Raises UserError: one of them can't be imported."""
    own = [import_module(module).FAMILY for module in MODULES]
    named = os.environ.get(VARIABLE, "")
    if named and (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    for module in filter(None, (part.strip() for part in named.split(","))):
        try:
            import_module(module)
        except Exception as error:  # whatever the user's own code runs into
            raise UserError(
                f"{VARIABLE}={named!r}: {module} can't be imported ({reason(error)}); name modules that can be"
            ) from error
    return (*own, *_registered.values())


def family(name: str) -> Family:
    """The family called ``name``. Raises UserError: there is none."""
    known = {item.name: item for item in families()}
    if name not in known:
        raise unknown_name("simulator", name, known)
    return known[name]


def family_of(task: str) -> Family:
    """The family that has a task, by its full name or with the family's prefix. Raises UserError: none has it; the
    message lists the nearest names of all."""
    name = str(task)  # None or a number is told of as any other unknown name
    if name.startswith(OF_GYMNASIUM):
        return resolve("sfvgen_plan.envs.gym:family_for")(name)
    for item in families():
        if name in item.tasks:
            return item
        if name.startswith(item.prefix):
            item.canonical(name)
            return item
    raise unknown_name("task", name, task_names(), _last_part, f"{__name__}.task_names()")


def canonical(task: str) -> str:
    """The full name of a task of any family. Raises UserError: there is no such task."""
    return family_of(task).canonical(task)


def scene_of(task: str) -> str:
    """The task that a checkpoint knows: the one in whose scene ``task`` is played, or itself."""
    return next((item.scenes[task] for item in families() if task in item.scenes), task)


def task_names() -> list[str]:
    """Full names of the tasks of all families."""
    return [task for item in families() for task in item.tasks]


def _last_part(name: str) -> str:
    """What a task is called in its own simulator, of which the part before the slash tells."""
    return name.rpartition("/")[2]
