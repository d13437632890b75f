"""Agents that plan: ``default``, ``cem``, ``oracle`` and ``video``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sfvgen_plan.agents.base import REMEMBERS, AgentSettings, Given
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.planning import Planner
    from sfvgen_plan.agents.search import Score

NO_PRIOR, RULE = "none", "rule"


@dataclass(frozen=True)
class Search(AgentSettings):
    """Settings of a search for actions."""

    horizon: int = setting(6, "decisions of a plan", 1)
    candidates: int = setting(64, "plans scored in an iteration", 2)
    iterations: int = setting(2, "rounds of candidates", 1)
    sigma: float = setting(0.6, "standard deviation of the first candidates, in units of the action", 0, above=True)
    objective: str | None = setting(None, "module:function that scores an Outcome; null = reward, success and value")

    def scoring(self, **weights: float) -> Callable[[str], Score]:
        """Task -> the objective that is set, or what the task asks for with these weights. Raises UserError: it can't
        be imported, or is no function."""
        from sfvgen_plan.agents.outside import imported
        from sfvgen_plan.agents.search import Objective, TaskObjective

        if self.objective is None:
            return cache(TaskObjective(Objective(**weights)))
        found: Score = imported(str(self.objective), "objective")
        if not callable(found):
            raise UserError(f"objective={self.objective!r} is no function; give module:function that scores an Outcome")
        return lambda task: found


@dataclass(frozen=True)
class ImaginedSearch(Search):
    """Settings of a search in imagination."""

    sampler_steps: int = setting(1, "denoising steps of an imagined frame")
    replan_every: int = setting(1, "decisions executed of each plan")
    memory: bool | None = setting(None, REMEMBERS)

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import rule_of
        from sfvgen_plan.agents.planning import PlanningAgent

        checkpoint, simulator = given.simulator(self.memory, self.sampler_steps)
        plan = self.planner(checkpoint, self.scoring(reward_scale=checkpoint.card.reward_scale))
        own: Any = {"seed": given.seed, "sub_goals": rule_of(checkpoint)}
        return PlanningAgent(simulator, plan, self.horizon, self.replan_every, **own)

    def planner(self, checkpoint: Any, score_of: Callable[[str], Score]) -> Planner:
        """The search in a checkpoint."""
        raise NotImplementedError


@dataclass(frozen=True)
class Default(ImaginedSearch, name="default", order=50):
    """Model predictive path integral control in the learned simulator, around the prior."""

    prior: str = setting("prior", "prior, prior10 (10 expert episodes per task), or none")
    horizon: int = setting(5, "decisions of a plan", 1)
    candidates: int = setting(32, "plans scored in an iteration", 2)
    iterations: int = setting(1, "rounds of candidates", 1)
    sigma: float = setting(0.1, "standard deviation of their noise, in units of the action", 0, above=True)
    prior_share: float = setting(
        1.0, "of the candidates that follow the prior; the others go on with the last plan", 0, 1
    )
    temperature: float = setting(0.05, "gain in score that makes a candidate weigh e times as much", 0, above=True)
    futures: int = setting(1, "imagined futures of each candidate", 1)
    penalty: float = setting(0.0, "score lost where futures lie a standard deviation of the latents apart", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty and self.futures == 1:
            raise UserError(f"penalty={self.penalty} needs futures that differ; give futures of at least 2")

    def planner(self, checkpoint: Any, score_of: Callable[[str], Score]) -> Planner:
        from sfvgen_plan.agents.search import mppi

        return partial(mppi, self, score_of, None if self.prior == NO_PRIOR else checkpoint.prior(self.prior))


@dataclass(frozen=True)
class Narrowing(Search):
    """Settings of a search that narrows a Gaussian."""

    elites: int = setting(8, "best candidates that the next Gaussian is fitted to")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.elites <= self.candidates:
            raise UserError(f"elites={self.elites} must be between 1 and candidates={self.candidates}")


@dataclass(frozen=True)
class Cem(ImaginedSearch, Narrowing, name="cem", order=30):
    """The cross-entropy method in the learned simulator, without a prior: the textbook's planner."""

    candidates: int = setting(32, "plans scored in an iteration", 2)

    def planner(self, checkpoint: Any, score_of: Callable[[str], Score]) -> Planner:
        from sfvgen_plan.agents.search import cem

        return partial(cem, self, score_of)


@dataclass(frozen=True)
class Oracle(
    Narrowing, name="oracle", order=60, control=True, needs_checkpoint=False, acts_on_env=True, needs="true_simulator"
):
    """The cross-entropy method in the true simulator, with the true reward: a bound for planners."""

    sigma: float = setting(1.0, "standard deviation of the first candidates, in units of the action", 0, above=True)

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.oracle import OracleAgent
        from sfvgen_plan.agents.search import cem

        # Counting the reward traps drawer-open in front of the handle.
        return OracleAgent(partial(cem, self, self.scoring(reward_weight=0.0)), self.horizon, given.seed)


@dataclass(frozen=True)
class Video(AgentSettings, name="video", order=110):
    """Video planning: imagine the sub-goal being reached, then do what leads along the video (the paper, 3.4)."""

    sampler_steps: int = setting(1, "denoising steps of a frame")
    horizon: int = setting(8, "frames of a video, one a decision", 1)
    replan_every: int = setting(5, "decisions executed of each video")
    memory: bool | None = setting(None, REMEMBERS)
    sub_goals: str = setting(RULE, "rule: those of the memory tasks, else the instruction; or module:factory")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sub_goals != RULE and ":" not in self.sub_goals:
            raise UserError(f"sub_goals={self.sub_goals!r} is unknown; give rule, or module:factory of your own")

    def build(self, given: Given) -> Any:
        from sfvgen_plan.agents.lanes import RuleSubGoals
        from sfvgen_plan.agents.outside import imported
        from sfvgen_plan.agents.planning import PlanningAgent
        from sfvgen_plan.agents.search import followed_video

        split = RuleSubGoals if self.sub_goals == RULE else imported(self.sub_goals, "sub_goals")
        checkpoint, simulator = given.simulator(self.memory, self.sampler_steps)
        own: Any = {"seed": given.seed, "sub_goals": split(checkpoint)}
        return PlanningAgent(simulator, partial(followed_video, self), self.horizon, self.replan_every, **own)
