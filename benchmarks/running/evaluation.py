"""What is evaluated: an agent with its settings, and the episodes that it is to play."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.adapters import kind_of
from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.registry import (
    agent_settings,
    check_plays,
    make_agent,
    needs_checkpoint,
    settings_of,
)
from sfvgen_plan.benchmarks.protocols import Protocol, load_protocol, protocol_for_task
from sfvgen_plan.benchmarks.results.provenance import provenance
from sfvgen_plan.benchmarks.running.runner import Contestant
from sfvgen_plan.catalogue import check_covers
from sfvgen_plan.devices import device_name, resolve_device
from sfvgen_plan.envs.family import canonical, family_of, scene_of
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint

EPISODES_OF_A_TASK = 5


@dataclass(frozen=True)
class Evaluation:
    """An agent, and the episodes that it is to play. Nothing of it is loaded yet.

    Attributes:
        agent, settings: as ``sfvgen_plan.agents.registry`` has them.
        label: the agent's name in rows.
        protocol, tasks: the rules, and which of their tasks.
        checkpoint, device: as on the command line.
    """

    agent: str
    settings: dict[str, Any]
    label: str
    protocol: Protocol
    tasks: tuple[str, ...]
    checkpoint: str | Checkpoint | None = None
    device: str = "auto"

    @classmethod
    def of(
        cls,
        agent: str,
        overrides: Sequence[str] = (),
        *,
        task: str | None = None,
        suite: str | None = None,
        episodes: int | None = None,
        seed: int = 0,
        max_decisions: int | None = None,
        label: str | None = None,
        checkpoint: str | None = None,
        device: str = "auto",
    ) -> Evaluation:
        """From the options of a command line: a task, or a suite.

        Raises:
            UserError: unknown names or settings, seeds of training data, tasks that the agent doesn't play or the
                checkpoint doesn't cover.
        """
        if suite:
            protocol = load_protocol(suite)
            tasks, usual = protocol.tasks, protocol.episodes
        else:
            tasks, usual = (canonical(str(task)),), EPISODES_OF_A_TASK
            protocol = protocol_for_task(tasks[0], checkpoint)
        protocol = protocol.variant(max_decisions=max_decisions, first_seed=seed, episodes=episodes or usual)
        settings, name = agent_settings(agent, overrides)
        check_plays(agent, tasks)
        if needs_checkpoint(agent):
            check_covers(checkpoint, map(scene_of, tasks), protocol)
        return cls(agent, settings, label or name, protocol, tuple(tasks), checkpoint, device)

    @property
    def record(self) -> dict[str, Any]:
        """What is stored beside the rows."""
        return {
            "protocol": self.protocol.id,
            "agent": self.label,
            "settings": self.settings,
            "protocol_hash": self.protocol.rules_hash,
            "rules": asdict(self.protocol),
            "command": shlex.join(["sfvgen-plan", *sys.argv[1:]]),
            **provenance(),
        }

    def new_folder(self) -> Path:
        """A new folder in ``runs``."""
        what = self.tasks[0] if len(self.tasks) == 1 else self.protocol.id
        name = re.sub(r"[^\w.+=-]+", "-", f"{datetime.now():%Y%m%d-%H%M%S}-{what}-{self.label}")[:120]
        path = Path("runs") / name
        return path if not path.exists() else Path("runs") / f"{name}-{datetime.now():%f}"

    def contestant(self) -> Contestant:
        """Load what the agent needs and make it.

        Raises:
            UserError: unusable checkpoint or device, or a checkpoint for other tasks or frames than the protocol's.
        """
        if settings_of(self.agent).acts_on_env:
            # Made in the workers; a checkpoint, if it takes one, is loaded there.
            factory = partial(make_agent, self.agent, self.checkpoint, "cpu", 0, self.settings)
            return Contestant(self.label, env_agent=factory, device=device_name("cpu"))
        outside, needs, loaded = ":" in self.agent, needs_checkpoint(self.agent), None
        device = resolve_device(self.device) if outside or needs else "cpu"
        if needs or (outside and self.checkpoint is not None):
            loaded = checkpoint_for(self.protocol, self.tasks, self.checkpoint, device)
        made: Any = make_agent(self.agent, loaded, device, 0, self.settings, family_of(self.tasks[0]).action_dim)
        if kind_of(made) != "batch":
            raise UserError(
                f"agent={self.agent!r} makes an agent that acts on the environment; give its factory acts_on_env = True"
            )
        return Contestant(self.label, made, None, loaded, device_name(device))


def checkpoint_for(protocol: Protocol, tasks: Sequence[str], given: str | Checkpoint | None, device: str) -> Checkpoint:
    """Load a checkpoint, unless it is loaded, and make sure that it was trained for these tasks and frames.

    Raises:
        UserError: it can't be loaded or was trained for something else.
    """
    checkpoint = Given(given, device).load()
    checkpoint.check_fits(
        map(scene_of, tasks), protocol, f"protocol {protocol.id!r}", "give a checkpoint trained with the latter"
    )
    return checkpoint
