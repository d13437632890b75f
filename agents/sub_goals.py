"""Where the sub-goals of an episode come from: a rule, which knows the texts that the checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from sfvgen_plan.envs.memory.sub_goals import TASKS, Schedule, sub_goals_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint


class SubGoals(Protocol):
    """Splits an episode into sub-goals."""

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """Texts with their decisions, for the episode of ``seed``; ``picture`` gives its first frame (H, W, 3)."""


def text_at(schedule: Schedule, decision: int) -> str:
    """The text of the decision after ``decision`` others; the last one stays."""
    for text, decisions in schedule:
        if decision < decisions:
            return text
        decision -= decisions
    return schedule[-1][0]


def checked(schedule: Schedule, task: str) -> Schedule:
    """The schedule. Raises UserError unless it is (text, decisions) of one sub-goal or more."""
    try:
        fits = bool(schedule) and all(isinstance(text, str) and decisions >= 1 for text, decisions in schedule)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"sub_goals: {schedule!r} is no split of {task!r}; give (text, decisions) of every sub-goal")
    return schedule


class RuleSubGoals:
    """Tasks with sub-goals: what the environment's ``info`` says, too. Others: their one instruction.

    Raises:
        UserError: a checkpoint of such tasks that was not trained on their sub-goals.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.instructions, self.repeat = checkpoint.card.tasks, checkpoint.repeat
        if not checkpoint.card.sub_goals and any(task in TASKS for task in checkpoint.tasks):
            raise UserError(
                f"checkpoint={str(checkpoint.path)!r} was trained without the texts of sub-goals; collect its data "
                "again, which then has them, and train on it"
            )

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """See ``SubGoals``."""
        if task in TASKS:
            return sub_goals_of(task, seed, self.repeat)
        return ((self.instructions[task], 1),)
