"""Agents that imagine nothing: ``random``, ``prior``, ``prior10``, ``expert``, and ``sb3:path.zip``, a policy of
Stable-Baselines3."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.agents.players import player
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting

PREFIX = "sb3:"
REMEMBERS = "remember what the episode showed; null = if the checkpoint has memory layers"


@player("random", order=10, control=True, needs_checkpoint=False)
@dataclass(frozen=True)
class Random(AgentSettings):
    """Uniformly random actions."""

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import RandomAgent

        return RandomAgent(seed=given.seed)


@player("prior", order=20, control=True)
@dataclass(frozen=True)
class Prior(AgentSettings):
    """The behaviour-cloned prior alone."""

    network: ClassVar[str] = "prior"

    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import PriorAgent
        from sfvgen_plan.agents.sub_goals import rule_of

        checkpoint, simulator = given.simulator(self.memory)
        prior = checkpoint.prior(self.network)
        return PriorAgent(simulator, prior, seed=given.seed, sub_goals=rule_of(checkpoint))


@player("prior10", order=80)
@dataclass(frozen=True)
class Prior10(Prior):
    """The prior of 10 expert episodes per task alone."""

    network: ClassVar[str] = "prior10"


@player("expert", order=70, control=True, needs_checkpoint=False, acts_on_env=True)
@dataclass(frozen=True)
class Expert(AgentSettings):
    """The simulator's own expert: it reads the true state."""

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.expert import ExpertAgent

        return ExpertAgent()


@dataclass(frozen=True)
class Policy(AgentSettings):
    """A policy that an algorithm of Stable-Baselines3 or sb3-contrib saved, without exploration."""

    needs_checkpoint: ClassVar[bool] = False

    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        """The agent. Raises UserError: see ``agents.sb3``."""
        from sfvgen_plan.agents.sb3 import PolicyAgent, load_policy, sees_pixels
        from sfvgen_plan.model.checkpoint import load_checkpoint

        model = load_policy(given.name)
        pixels = sees_pixels(model)
        if self.memory not in (None, True, False) or (pixels and self.memory is not None):
            raise UserError(
                f"agent.memory={self.memory!r}: agent={given.name!r} takes true or false, unless it sees pixels"
            )
        seen_through = None if pixels else load_checkpoint(given.checkpoint, given.device)
        return PolicyAgent(model, seen_through, given.action_dim, given.name, self.memory)


def policy(name: str) -> type[Policy]:
    """What is known of a policy before it is loaded. Raises UserError: there is no such file."""
    if not Path(name.removeprefix(PREFIX)).is_file():
        raise UserError(f"agent={name!r} names no file; give {PREFIX}path.zip")
    return Policy
