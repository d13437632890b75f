"""``--agent cem``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import PlannerSettings, planning_agent
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(PlannerSettings):
    """The cross-entropy method in the learned simulator, without a prior: the textbook's planner."""

    order: ClassVar[int] = 30

    candidates: int = setting(32, "plans scored in an iteration")
    elites: int = setting(8, "best candidates that the next Gaussian is fitted to")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.search import CEM

    return planning_agent(settings, given, CEM)
