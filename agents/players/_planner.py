"""What the planners share: settings of the search and of the imagination, and the agent around a planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.objective import Score
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator


Made = TypeVar("Made")

NO_PRIOR = "none"
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
    objective: str | None = setting(None, "module:function that scores an Outcome; null = reward, success and value")


@dataclass(frozen=True)
class PlannerSettings(SearchSettings):
    """Settings of a search in imagination."""

    futures: int = setting(1, "imagined futures of each candidate")
    penalty: float = setting(0.0, "score lost where futures lie a standard deviation of the latents apart")
    sampler_steps: int = setting(1, "denoising steps of an imagined frame")
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


def scoring(name: str | None, **weights: float) -> Callable[[str], Score]:
    """Task -> the objective of that name, or what the task asks for with these weights.

    Raises:
        UserError: it can't be imported, or is no function.
    """
    from sfvgen_plan.agents.objective import Objective, TaskObjective
    from sfvgen_plan.agents.registry import imported

    if name is None:
        return TaskObjective(Objective(**weights))
    found: Score = imported(str(name), "objective")
    if not callable(found):
        raise UserError(f"objective={name!r} is no function; give module:function that scores an Outcome")
    return lambda task: found


def planning_agent(settings: Any, given: Given, kind: type) -> Any:
    """The agent that plans with a ``kind`` of search.

    Raises:
        UserError: see ``loaded`` and ``scoring``.
    """
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.agents.sub_goals import rule_of

    checkpoint, simulator = loaded(settings, given)
    guided: dict[str, Any] = {}
    if hasattr(settings, "prior"):
        guided["prior"] = None if settings.prior == NO_PRIOR else checkpoint.prior(settings.prior)
    score_of = scoring(settings.objective, reward_scale=checkpoint.card.reward_scale)
    planner: Any = made(kind, settings, score_of=score_of, **guided)
    return PlanningAgent(
        simulator, planner, replan_every=settings.replan_every, seed=given.seed, sub_goals=rule_of(checkpoint)
    )
