"""``--agent default``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import PlannerSettings, search_agent
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(PlannerSettings):
    """Planning around the prior: its own plan is kept unless another one is clearly better."""

    order: ClassVar[int] = 50

    prior: str = setting("prior", "prior, or prior10 (10 expert episodes per task)")
    horizon: int = setting(4, "decisions of a plan")
    candidates: int = setting(24, "plans scored in an iteration, the prior's and the last plan among them")
    iterations: int = setting(1, "rounds of candidates")
    sigma: float = setting(0.6, "standard deviation of the offsets from the prior, as a share of the radius")
    knots: int = setting(2, "points in time between which offsets are interpolated; 1 = constant")
    radius: float = setting(0.4, "most that any number may differ from the prior; 2 = no limit")
    elites: int = setting(8, "best candidates that the plan is the weighted mean of")
    temperature: float = setting(0.3, "of their weights, in standard deviations of their scores")
    confirm: int = setting(4, "fresh futures in which the plan must beat the prior once more; 0 = none")
    margin: float = setting(0.02, "gain over the prior that a plan must promise")
    margin_futures: float = setting(1.0, "the same in standard deviations of the gain across futures")
    patience: int = setting(24, "decisions at the start of an episode in which the prior plays alone")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.guided import GuidedPlanner
    from sfvgen_plan.agents.optimisers import MPPI

    return search_agent(settings, given, MPPI, GuidedPlanner)
