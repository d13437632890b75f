"""Who plays: an agent by name with its settings, made worse on purpose if asked, and what it is once it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.base import AgentSettings, BatchAgent, kind_of
from sfvgen_plan.agents.registry import agent_settings, make_agent, settings_of
from sfvgen_plan.benchmarks.running.episode import AgentFactory
from sfvgen_plan.devices import device_name
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Contestant:
    """Who plays, and how the rows name it: an ``agent`` that decides here, for all slots at once, or ``env_agent``,
    which makes those that decide beside each environment; the checkpoint ``loaded`` here, if there is one, and the
    hash of it, ``checkpoint``; the ``device`` that the agent computes on, as rows name it."""

    name: str
    agent: BatchAgent | None = None
    env_agent: AgentFactory | None = None
    loaded: Checkpoint | None = None
    device: str = ""
    on_cpu: bool = True
    checkpoint: str = ""


@dataclass(frozen=True)
class Entry:
    """An agent that is not made yet: its name and settings in ``agents.registry``, its name in rows, the deviation of
    Gaussian ``noise`` on its actions, and the probability of a ``random`` one instead."""

    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    noise: float = 0.0
    random: float = 0.0

    @classmethod
    def of(
        cls, agent: str, overrides: Sequence[str] = (), name: str | None = None, noise: float = 0.0, random: float = 0.0
    ) -> Entry:
        """From ``agent.key=value``; without a name it is called after its changes. Raises UserError: unknown agent or
        setting."""
        settings, usual = agent_settings(agent, overrides)
        usual += "".join(f"+{key}={value:g}" for key, value in (("noise", noise), ("random", random)) if value)
        return cls(agent, settings, name or usual, noise, random)

    @cached_property
    def kind(self) -> type[AgentSettings]:
        """What is known of the agent before it is made."""
        return settings_of(self.agent)

    def check_sees_frames(self) -> None:
        """Raises: UserError: it acts on the true state."""
        if self.kind.acts_on_env:
            raise UserError(
                f"agent={self.agent!r} acts on the true state, which imagination doesn't have; "
                "give one that sees frames"
            )

    def made(self, checkpoint: str | Checkpoint | None = None, device: str = "cpu", action_dim: int = 4) -> Contestant:
        """Make it. One that decides beside the environment loads a checkpoint where it plays. Raises UserError: what
        its factory or the checkpoint refuse."""
        if self.kind.acts_on_env:
            factory = partial(make_agent, self.agent, checkpoint, "cpu", 0, self.settings, action_dim)
            return Contestant(self.name, env_agent=factory, device=device_name("cpu"))
        agent: Any = make_agent(self.agent, checkpoint, device, 0, self.settings, action_dim)
        if kind_of(agent) != "batch":
            raise UserError(
                f"agent={self.agent!r} makes an agent that acts on the environment; give its factory acts_on_env = True"
            )
        if self.noise or self.random:
            from sfvgen_plan.agents.adapters import DisturbedAgent

            agent = DisturbedAgent(agent, self.noise, self.random)
        loaded: Any = checkpoint if hasattr(checkpoint, "hash") else None
        name = loaded.hash if loaded is not None else ""
        return Contestant(self.name, agent, None, loaded, device_name(device), device == "cpu", name)
