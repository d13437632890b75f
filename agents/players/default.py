"""``--agent default``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import PlannerSettings, planning_agent
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(PlannerSettings):
    """Model predictive path integral control in the learned simulator, around the prior."""

    order: ClassVar[int] = 50

    prior: str = setting("prior", "prior, prior10 (10 expert episodes per task), or none")
    horizon: int = setting(5, "decisions of a plan")
    candidates: int = setting(32, "plans scored in an iteration")
    iterations: int = setting(1, "rounds of candidates")
    sigma: float = setting(0.1, "standard deviation of their noise, in units of the action")
    prior_share: float = setting(1.0, "of the candidates that follow the prior; the others go on with the last plan")
    temperature: float = setting(0.05, "gain in score that makes a candidate weigh e times as much")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.search import MPPI

    return planning_agent(settings, given, MPPI)
