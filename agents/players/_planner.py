"""What the planners share: settings of the search and of the imagination, and the agent around a planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.errors import check_number, unknown_name
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.objective import Objective
    from sfvgen_plan.agents.optimisers import Optimiser
    from sfvgen_plan.agents.planning import Planner, PlanningAgent
    from sfvgen_plan.agents.search import SearchPlanner


Made = TypeVar("Made")

PRIORS = ("prior", "prior10")


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

    def objective(self, tasks: Sequence[str] = ()) -> Objective:
        """What plans are scored by; ``tasks`` are all of one simulator, whose rewards have one scale."""
        from sfvgen_plan.agents.objective import Objective
        from sfvgen_plan.envs.family import family_of

        scale = {"reward_scale": family_of(tasks[0]).source.reward_scale} if tasks else {}
        return made(Objective, self, **scale)


@dataclass(frozen=True)
class PlannerSettings(SearchSettings):
    """Settings of a search in imagination."""

    sampler_steps: int = setting(1, "denoising steps of an imagined chunk")
    futures: int = setting(1, "imagined futures of each candidate")
    shared_noise: bool = setting(True, "candidates meet the same noise")
    replan_every: int = setting(1, "decisions executed of each plan")
    memory: bool = setting(False, "fast learning during the episode")
    memory_every: int = setting(8, "decisions of the chunks that it learns from")
    row: str = setting("full", "which memory, as a row of the paper's ablation (configs/row)")


def planning_agent(settings: Any, given: Given, planner: Callable[[Any, Any], Planner]) -> PlanningAgent:
    """The agent that plans with ``planner(checkpoint, simulator)``; ``settings`` have those of ``PlannerSettings`` that
    say how to imagine, replan and remember.

    Raises:
        UserError: a number that makes no sense, a row that is none, a checkpoint that can't be loaded.
    """
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.memory.rows import row_of
    from sfvgen_plan.model.pipeline import CONTEXT_WINDOW

    checkpoint = given.load()
    row = row_of(settings.row) if settings.memory else None
    learning = row.fast_learning if row else None
    frames = row.context_frames if row else None
    # Said now, for a prior may play alone for many decisions before the first plan is imagined.
    check_number("horizon", settings.horizon, 1, CONTEXT_WINDOW - (frames or checkpoint.card.context_frames))
    simulator = checkpoint.simulator(settings.sampler_steps, memory=learning, context_frames=frames)
    return PlanningAgent(
        simulator,
        planner(checkpoint, simulator),
        context=checkpoint.card.context_frames,
        replan_every=settings.replan_every,
        memory_every=None if learning is None else settings.memory_every,
        memory_whole=learning is not None and learning.keeps_all,
        seed=given.seed,
    )


def search_agent(settings: Any, given: Given, optimiser: type[Optimiser], kind: type[SearchPlanner]) -> PlanningAgent:
    """The agent that plans with a ``kind`` of search; it starts at a prior's plan if ``settings.prior`` names one."""

    def planner(checkpoint: Any, simulator: Any) -> Planner:
        if settings.prior is not None and settings.prior not in PRIORS:
            raise unknown_name("prior", str(settings.prior), PRIORS)
        prior = checkpoint.prior(settings.prior) if settings.prior else None
        objective = settings.objective(checkpoint.tasks)
        return made(kind, settings, optimiser=made(optimiser, settings), objective=objective, prior=prior)

    return planning_agent(settings, given, planner)
