"""``--agent cem``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import PlannerSettings, search_agent
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(PlannerSettings):
    """The cross-entropy method in the learned simulator."""

    order: ClassVar[int] = 30

    candidates: int = setting(32, "plans scored in an iteration")
    elites: int = setting(8, "best candidates that the next Gaussian is fitted to")
    min_sigma: float = setting(0.05, "least standard deviation")
    momentum: float = setting(0.1, "share of the old mean and deviation that is kept")
    prior: str | None = setting(None, "prior or prior10: begin at that prior's imagined plan")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.optimisers import CEM
    from sfvgen_plan.agents.search import SearchPlanner

    return search_agent(settings, given, CEM, SearchPlanner)
