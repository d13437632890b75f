"""``--agent video``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sfvgen_plan.agents.base import AgentSettings, Given
from sfvgen_plan.agents.players._planner import made, planning_agent
from sfvgen_plan.settings import setting

if TYPE_CHECKING:
    from sfvgen_plan.agents.video import VideoPlanner


@dataclass(frozen=True)
class Settings(AgentSettings):
    """Video planning: imagine the sub-goal being reached, then do what leads along the video (the paper, 3.4)."""

    order: ClassVar[int] = 110

    sampler_steps: int = setting(3, "denoising steps of a video")
    horizon: int = setting(8, "frames of a video, one a decision")
    videos: int = setting(1, "imagined for a plan; the one whose end is valued most is followed")
    replan_every: int = setting(5, "decisions executed of each video")
    memory: bool = setting(True, "fast learning, which goes on from sub-goal to sub-goal")
    memory_every: int = setting(8, "decisions of the chunks that it learns from")
    row: str = setting("full", "which memory, as a row of the paper's ablation (configs/row)")
    sub_goals: str = setting("rule", "rule: those of the memory tasks, else the instruction; or module:factory")


def build(settings: Settings, given: Given) -> Any:
    """The agent."""
    return planning_agent(settings, given, lambda checkpoint, simulator: _planner(settings, checkpoint, simulator))


def _planner(settings: Settings, checkpoint: Any, simulator: Any) -> VideoPlanner:
    from sfvgen_plan.agents.registry import imported
    from sfvgen_plan.agents.sub_goals import RuleSubGoals
    from sfvgen_plan.agents.video import VideoPlanner
    from sfvgen_plan.errors import UserError
    from sfvgen_plan.synthesis import Synthesis

    if settings.sub_goals != "rule" and ":" not in settings.sub_goals:
        raise UserError(f"sub_goals={settings.sub_goals!r} is unknown; give rule, or module:factory of your own")
    synthesis = Synthesis(simulator, checkpoint.inverse())
    split = RuleSubGoals if settings.sub_goals == "rule" else imported(settings.sub_goals, "sub_goals")
    return made(VideoPlanner, settings, synthesis=synthesis, sub_goals=split(checkpoint))
