"""``--agent oracle``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.players._planner import SearchSettings, made, scoring
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
    elites: int = setting(8, "best candidates that the next Gaussian is fitted to")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.oracle import OracleAgent
    from sfvgen_plan.agents.search import CEM

    # Counting the reward traps drawer-open in front of the handle.
    return OracleAgent(made(CEM, settings, score_of=scoring(settings.objective, reward_weight=0.0)), given.seed)
