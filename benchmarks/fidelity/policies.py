"""The policies whose scores are compared: agents as they are, or made worse on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sfvgen_plan.agents.registry import agent_settings, make_agent, settings_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.base import BatchAgent
    from sfvgen_plan.benchmarks.fidelity.compare import Policy
    from sfvgen_plan.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Settings:
    """How policies are played and judged."""

    threshold: float = setting(0.5, "success probability above which an imagined decision succeeds")
    sampler_steps: int = setting(1, "denoising steps of an imagined decision")
    noise: float = setting(0.0, "deviation of Gaussian noise on the agents' actions")
    random: float = setting(0.0, "probability of a random action instead of the agents'")

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold < 1.0:
            raise UserError(f"threshold={self.threshold} is out of range; give a probability between 0 and 1")
        if not 0.0 <= self.noise < float("inf"):
            raise UserError(f"noise={self.noise} must be at least 0 and finite")
        if not 0.0 <= self.random <= 1.0:
            raise UserError(f"random={self.random} is no probability; give 0 to 1")


@dataclass(frozen=True)
class Named:
    """A policy that is not made yet: an agent with settings, and what disturbs its actions."""

    name: str
    agent: str
    settings: Mapping[str, Any]
    noise: float = 0.0
    random: float = 0.0

    @classmethod
    def of(cls, agent: str, overrides: Sequence[str] = (), noise: float = 0.0, random: float = 0.0) -> Named:
        """From ``agent.key=value``; it is named after its changes.

        Raises:
            UserError: unknown agent or setting, or an agent that needs the real environment.
        """
        if settings_of(agent).acts_on_env:
            raise UserError(
                f"agent={agent!r} acts on the true state, which imagination doesn't have; give one that sees frames"
            )
        settings, name = agent_settings(agent, overrides)
        name += "".join(f"+{key}={value:g}" for key, value in (("noise", noise), ("random", random)) if value)
        return cls(name, agent, settings, noise, random)

    def made(self, checkpoint: Checkpoint, device: str) -> Policy:
        """The policy.

        Raises:
            UserError: one that can't be played with the checkpoint.
        """
        from sfvgen_plan.agents.adapters import kind_of
        from sfvgen_plan.agents.disturbed import DisturbedAgent
        from sfvgen_plan.agents.planning import PlanningAgent
        from sfvgen_plan.benchmarks.fidelity.compare import Policy

        made = make_agent(self.agent, checkpoint, device, 0, self.settings, checkpoint.card.action_dim)
        if kind_of(made) != "batch":
            raise UserError(f"agent={self.agent!r} acts on the environment; give an agent that acts on frames")
        agent = cast("BatchAgent", made)
        kind = "planner" if isinstance(agent, PlanningAgent) else "policy"
        disturbed = DisturbedAgent(agent, self.noise, self.random) if self.noise or self.random else agent
        return Policy(self.name, disturbed, kind)


def standard_policies() -> list[Named]:
    """Eleven of different strength."""
    few = ["agent.candidates=8"]
    return [
        Named.of("prior"),
        Named.of("prior", noise=0.5),
        Named.of("prior", noise=1.0),
        Named.of("prior", random=0.5),
        Named.of("prior10"),
        Named.of("prior", random=0.25),
        Named.of("prior10", noise=0.5),
        Named.of("random"),
        Named.of("cem", ["agent.candidates=16", "agent.elites=4"]),
        Named.of("default", few),
        Named.of("default", [*few, "agent.prior=prior10"]),
    ]


def named_policies(agents: Sequence[str], overrides: Sequence[str], settings: Settings) -> list[Named]:
    """The agents, each with the same settings and disturbance; without any, the standard ones.

    Raises:
        UserError: see ``Named.of``; settings without an agent, or an agent twice.
    """
    if not agents:
        if overrides or settings.noise or settings.random:
            raise UserError("settings of agents, noise and random need an agent; add --agent NAME")
        return standard_policies()
    for agent in agents:
        if agents.count(agent) > 1:
            raise UserError(f"agent={agent!r} is named twice; give it once")
    return [Named.of(agent, overrides, settings.noise, settings.random) for agent in agents]
