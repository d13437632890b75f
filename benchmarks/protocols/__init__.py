"""Protocols: the rules under which rows may be compared, each with an id and a hash of its content."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml

from sfvgen_plan.catalogue import find_checkpoint, frames_of
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.envs.family import Family, canonical, families, family_of
from sfvgen_plan.errors import UserError, unknown_name

FOR_SINGLE_TASKS = ("metaworld-10", "metaworld-50", "rlbench-data", "rlbench-wiw4", "rlbench-18")
"""Where tasks that are asked for by name are looked for first; several protocols may have the same task."""


_VARIANT = re.compile(r"~[0-9a-f]{8}$")  # what the id of a variant ends with


@dataclass(frozen=True)
class Protocol:
    """Everything that an episode's result depends on besides the agent.

    Success is reported under two rules. *Any-time*: the simulator's success flag was up at any raw step.
    *Final*: the flag was up in the last decision, where an episode goes on for ``linger`` decisions after its
    first success (or to the limit), so an agent that solves the task and undoes it at once does not count.
    """

    id: str  # name of the protocol; rows with different ids never share a table
    env_id: str  # Gymnasium id of the environment
    env_version: str  # package and version of the simulator behind it
    tasks: tuple[str, ...]  # task names, in the order of the tables
    # camera name and edge length in pixels of the square frames
    camera: str
    size: int
    repeat: int  # raw simulator steps per decision
    max_decisions: int  # decisions after which an episode is over
    # each task is played on seeds first_seed .. first_seed + episodes - 1
    first_seed: int
    episodes: int
    linger: int  # decisions that an episode goes on after its first success

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes={self.episodes} leaves nothing to play; give at least 1")
        if self.max_decisions < 1:
            raise UserError(f"max_decisions={self.max_decisions} leaves nothing to play; give at least 1")
        if self.first_seed < 0:
            raise UserError(f"seed={self.first_seed} is negative; give 0 or more")
        if self.first_seed + self.episodes > FIRST_TRAINING_SEED:
            last = self.first_seed + self.episodes - 1
            raise UserError(
                f"seed={self.first_seed} with episodes={self.episodes} reaches seed {last}, but seeds from "
                f"{FIRST_TRAINING_SEED} on belong to training data; evaluate on lower ones"
            )

    @property
    def seeds(self) -> range:
        """The seeds that each task is played on."""
        return range(self.first_seed, self.first_seed + self.episodes)

    @property
    def hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the content."""
        content = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    @cached_property
    def rules_hash(self) -> str:
        """Hash of everything but the choice of seeds, which names the episodes, not their rules. It stands in every
        row: rows with the same id and the same rules hash may be compared."""
        return dataclasses.replace(self, first_seed=0, episodes=1).hash

    def variant(
        self,
        *,
        max_decisions: int | None = None,
        first_seed: int | None = None,
        episodes: int | None = None,
        **frames: Any,
    ) -> Self:
        """The same rules with another limit, other seeds, or other ``frames`` (camera, size, repeat).

        Fewer of the same seeds stay under the same id, since every row would be the same; anything else becomes
        ``<id>~<hash>``, so that its rows are never ranked together with the original's. Raises UserError: no episode or
        decision left, or seeds that belong to training data.
        """
        changed = dataclasses.replace(
            self,
            max_decisions=self.max_decisions if max_decisions is None else max_decisions,
            first_seed=self.first_seed if first_seed is None else first_seed,
            episodes=self.episodes if episodes is None else episodes,
            **frames,
        )
        subset = changed.seeds[0] in self.seeds and changed.seeds[-1] in self.seeds
        if subset and changed.rules_hash == self.rules_hash:
            return changed
        # Variants that differ in seeds only share an id.
        return dataclasses.replace(changed, id=f"{_VARIANT.sub('', self.id)}~{changed.rules_hash[:8]}")

    def played_in(self, build: str) -> Self:
        """The same rules in a simulator of another ``build`` than the usual, which id and version then name in these
        words, so that its rows are never ranked together with the original's; itself without words."""
        if not build:
            return self
        words = re.sub(r"[^a-z0-9]+", "-", build.lower()).strip("-")
        return dataclasses.replace(self, id=f"{self.id}~{words}", env_version=f"{self.env_version}, {build}")


def protocol_names() -> list[str]:
    """Ids of the protocols in the package."""
    folder = resources.files(__package__)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_protocol(name: str) -> Protocol:
    """The protocol with id ``name``, or for the name of a simulator all its tasks, played as they are collected. Raises
    UserError: no such protocol."""
    if name not in protocol_names():
        for item in families():
            if item.name == name:
                return protocol_of(item)
        raise unknown_name("suite", name, protocol_names())
    text = (resources.files(__package__) / f"{name}.yaml").read_text()
    values: dict[str, Any] = yaml.safe_load(text)
    tasks: Sequence[str] = values.pop("tasks")
    return Protocol(tasks=tuple(tasks), **values).played_in(family_of(tasks[0]).build)


def protocol_for_task(task: str, checkpoint: str | Path | None = None) -> Protocol:
    """The protocol that a single task is played under: of ``FOR_SINGLE_TASKS`` the first that has it, else any, else
    its simulator's defaults, with the frames of the ``checkpoint`` if one is given. Raises UserError: unknown task."""
    for name in (*FOR_SINGLE_TASKS, *protocol_names()):
        protocol = load_protocol(name)
        if task in protocol.tasks:
            return protocol
    usual = protocol_of(family_of(task))
    return usual.variant(**frames_of(find_checkpoint(checkpoint))) if checkpoint else usual


def chosen(
    suite: str | None, tasks: Sequence[str], checkpoint: str | Path | None = None
) -> tuple[Protocol, tuple[str, ...]]:
    """The protocol of tasks by name, or of a suite, and which of its tasks are asked for. Raises UserError: unknown
    names, or tasks of several protocols."""
    if not tasks:
        protocol = load_protocol(str(suite))
        return protocol, protocol.tasks
    tasks = tuple(dict.fromkeys(map(canonical, tasks)))
    protocol = protocol_for_task(tasks[0], checkpoint)
    for task in tasks:
        if task not in protocol.tasks:
            raise UserError(f"task={task!r} is not in protocol {protocol.id!r} of {tasks[0]!r}; give it a run apart")
    return protocol, tasks


def protocol_of(family: Family) -> Protocol:
    """All tasks of a simulator, played as they are collected."""
    return Protocol(
        id=family.name, env_id=family.env_id, env_version=family.version, tasks=tuple(family.tasks),
        camera=family.camera, size=family.size, repeat=family.repeat, max_decisions=family.decisions, first_seed=0,
        episodes=20, linger=0,
    ).played_in(family.build)  # fmt: skip
