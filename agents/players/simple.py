"""Agents that imagine nothing: ``random``, ``prior``, ``prior10``, ``expert`` and ``reader``."""

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import REMEMBERS, AgentSettings, Given
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Random(AgentSettings, name="random", order=10, control=True, needs_checkpoint=False):
    """Uniformly random actions."""

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import RandomAgent

        return RandomAgent(seed=given.seed)


@dataclass(frozen=True)
class Prior(AgentSettings, name="prior", order=20, control=True):
    """The behaviour-cloned prior alone."""

    network: ClassVar[str] = "prior"

    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import PriorAgent, rule_of

        checkpoint, simulator = given.simulator(self.memory)
        prior = checkpoint.prior(self.network)
        return PriorAgent(simulator, prior, seed=given.seed, sub_goals=rule_of(checkpoint))


@dataclass(frozen=True)
class Prior10(Prior, name="prior10", order=80):
    """The prior of 10 expert episodes per task alone."""

    network: ClassVar[str] = "prior10"


@dataclass(frozen=True)
class Expert(
    AgentSettings, name="expert", order=70, control=True, needs_checkpoint=False, acts_on_env=True, needs="expert"
):
    """The simulator's own expert: it reads the true state."""

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.behaviour import ExpertAgent

        return ExpertAgent()


@dataclass(frozen=True)
class Reader(AgentSettings, name="reader", order=65, control=True, acts_on_env=True, needs="expert"):
    """The expert, told the object and the goal as the model reads them."""

    object: bool = setting(True, "the object is read; false: the expert knows it")
    goal: bool = setting(True, "the goal is read; false: the expert knows it")

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.reader import ReaderAgent

        parts = [name for name in ("object", "goal") if getattr(self, name)]
        return ReaderAgent(given.simulator(False)[1], parts, given.seed)
