"""``--agent oracle``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import SearchSettings, made
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(SearchSettings):
    """The cross-entropy method in the true simulator, with the true reward: a bound for planners."""

    order: ClassVar[int] = 60
    control: ClassVar[bool] = True
    needs_checkpoint: ClassVar[bool] = False
    acts_on_env: ClassVar[bool] = True
    needs: ClassVar[str] = "true_simulator"

    sigma: float = setting(1.0, "standard deviation of the first candidates, in units of the action")
    knots: int = setting(6, "points in time between which noise is interpolated; horizon or more = white noise")
    # Counting it traps drawer-open in front of the handle.
    reward_weight: float = setting(0.0, "weight of the discounted mean reward")
    elites: int = setting(8, "best candidates that the next Gaussian is fitted to")
    min_sigma: float = setting(0.05, "least standard deviation")
    momentum: float = setting(0.1, "share of the old mean and deviation that is kept")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.objective import Objective
    from sfvgen_plan.agents.optimisers import CEM
    from sfvgen_plan.agents.oracle import OracleAgent
    from sfvgen_plan.agents.search import SearchPlanner

    planner = made(SearchPlanner, settings, optimiser=made(CEM, settings), objective=made(Objective, settings))
    return OracleAgent(planner, given.seed)
