"""``--agent mppi``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import PlannerSettings, search_agent
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(PlannerSettings):
    """Model predictive path integral control in the learned simulator."""

    order: ClassVar[int] = 40

    horizon: int = setting(8, "decisions of a plan")
    iterations: int = setting(3, "rounds of candidates")
    sigma: float = setting(0.5, "standard deviation of the first candidates, in units of the action")
    decay: float = setting(0.7, "factor on sigma from one iteration to the next")
    temperature: float = setting(0.3, "of the weights, in standard deviations of the scores; lower is greedier")
    prior: str | None = setting(None, "prior or prior10: begin at that prior's imagined plan")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.optimisers import MPPI
    from sfvgen_plan.agents.search import SearchPlanner

    return search_agent(settings, given, MPPI, SearchPlanner)
