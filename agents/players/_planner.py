"""What the planners share: settings of the search and of the imagination, and the agent around a planner."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.optimisers import Optimiser
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.agents.search import SearchPlanner
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator


Made = TypeVar("Made")

PRIORS = ("prior", "prior10")
REMEMBERS = "remember what the episode showed; null = if the checkpoint has memory layers"


def made(kind: type[Made], settings: AgentSettings, **given: Any) -> Made:
    """A dataclass with the values of the settings that have the names of its fields, and what is given besides."""
    names = [item.name for item in fields(kind) if hasattr(settings, item.name)]  # type: ignore[arg-type]
    return kind(**{name: getattr(settings, name) for name in names} | given)


@dataclass(frozen=True)
class SearchSettings(AgentSettings):
    """Settings of a search for actions."""

    horizon: int = setting(6, "decisions of a plan")
    candidates: int = setting(64, "plans scored in an iteration")
    iterations: int = setting(2, "rounds of candidates")
    sigma: float = setting(0.6, "standard deviation of the first candidates, in units of the action")
    knots: int = setting(4, "points in time between which noise is interpolated; horizon or more = white noise")
    warm_start: bool = setting(True, "begin at the last plan, one decision on")
    reward_weight: float = setting(1.0, "weight of the discounted mean reward")
    success_weight: float = setting(1.0, "weight of the discounted probability of the first success")
    value_weight: float = setting(1.0, "weight of the value at the horizon")
    discount: float = setting(0.95, "of a decision")


@dataclass(frozen=True)
class PlannerSettings(SearchSettings):
    """Settings of a search in imagination."""

    sampler_steps: int = setting(1, "denoising steps of an imagined frame")
    futures: int = setting(1, "imagined futures of each candidate")
    shared_noise: bool = setting(True, "candidates meet the same noise")
    replan_every: int = setting(1, "decisions executed of each plan")
    memory: bool | None = setting(None, REMEMBERS)


def loaded(settings: Any, given: Given) -> tuple[Checkpoint, LearnedSimulator]:
    """The checkpoint, and the simulator that ``settings`` ask for.

    Raises:
        UserError: a number that makes no sense, a memory that the checkpoint lacks, or one that can't be loaded.
    """
    if settings.memory not in (None, True, False):
        raise UserError(f"memory={settings.memory!r} is neither true nor false nor null; give one of these")
    checkpoint = given.load()
    steps = getattr(settings, "sampler_steps", 1)
    return checkpoint, checkpoint.simulator(steps, settings.memory, compiled=True)


def search_agent(settings: Any, given: Given, optimiser: type[Optimiser], kind: type[SearchPlanner]) -> PlanningAgent:
    """The agent that plans with a ``kind`` of search; it starts at a prior's plan if ``settings.prior`` names one.

    Raises:
        UserError: see ``loaded``, or a prior that is none.
    """
    from sfvgen_plan.agents.objective import Objective
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.agents.sub_goals import rule_of

    if settings.prior is not None and settings.prior not in PRIORS:
        raise unknown_name("prior", str(settings.prior), PRIORS)
    checkpoint, simulator = loaded(settings, given)
    prior = checkpoint.prior(settings.prior) if settings.prior else None
    objective = made(Objective, settings, reward_scale=checkpoint.card.reward_scale)
    planner = made(kind, settings, optimiser=made(optimiser, settings), objective=objective, prior=prior)
    return PlanningAgent(
        simulator, planner, replan_every=settings.replan_every, seed=given.seed, sub_goals=rule_of(checkpoint)
    )
