"""``--agent prior``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given


@dataclass(frozen=True)
class Settings(AgentSettings):
    """The behaviour-cloned prior alone."""

    order: ClassVar[int] = 20
    control: ClassVar[bool] = True
    network: ClassVar[str] = "prior"


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.prior import PriorAgent

    checkpoint = given.load()
    prior = checkpoint.prior(settings.network)
    return PriorAgent(checkpoint.simulator(), prior, context=checkpoint.card.context_frames, seed=given.seed)
