"""``--agent video``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.agents.players._planner import REMEMBERS, loaded, made
from sfvgen_plan.settings import setting


@dataclass(frozen=True)
class Settings(AgentSettings):
    """Video planning: imagine the sub-goal being reached, then do what leads along the video (the paper, 3.4)."""

    order: ClassVar[int] = 110

    sampler_steps: int = setting(1, "denoising steps of a frame")
    horizon: int = setting(8, "frames of a video, one a decision")
    videos: int = setting(1, "imagined for a plan; the one whose end is valued most is followed")
    replan_every: int = setting(5, "decisions executed of each video")
    memory: bool | None = setting(None, REMEMBERS)
    sub_goals: str = setting("rule", "rule: those of the memory tasks, else the instruction; or module:factory")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    from sfvgen_plan.agents.planning import PlanningAgent
    from sfvgen_plan.agents.registry import imported
    from sfvgen_plan.agents.sub_goals import RuleSubGoals
    from sfvgen_plan.agents.video import VideoPlanner
    from sfvgen_plan.errors import UserError

    if settings.sub_goals != "rule" and ":" not in settings.sub_goals:
        raise UserError(f"sub_goals={settings.sub_goals!r} is unknown; give rule, or module:factory of your own")
    split = RuleSubGoals if settings.sub_goals == "rule" else imported(settings.sub_goals, "sub_goals")
    checkpoint, simulator = loaded(settings, given)
    return PlanningAgent(
        simulator,
        made(VideoPlanner, settings),
        replan_every=settings.replan_every,
        seed=given.seed,
        sub_goals=split(checkpoint),
    )
