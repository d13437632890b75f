"""``--agent prior``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.agents.players._planner import REMEMBERS, loaded
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(AgentSettings):
    """The behaviour-cloned prior alone."""

    order: ClassVar[int] = 20
    control: ClassVar[bool] = True
    network: ClassVar[str] = "prior"

    memory: bool | None = setting(None, REMEMBERS)


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.prior import PriorAgent
    from sfvgen_plan.agents.sub_goals import rule_of

    checkpoint, simulator = loaded(settings, given)
    prior = checkpoint.prior(settings.network)
    return PriorAgent(simulator, prior, seed=given.seed, sub_goals=rule_of(checkpoint))
