"""Where the sub-goals of an episode come from: a rule, which knows the texts that the checkpoint was trained on.

An agent that follows an episode tells its imagined state what the coming decision is for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sfvgen_plan.envs.memory.sub_goals import TASKS, Schedule, sub_goals_of
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint


class SubGoals(Protocol):
    """Splits an episode into sub-goals."""

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        """Texts with their decisions, for the episode of ``seed``; ``picture`` gives its first frame (H, W, 3)."""


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
    """Those of ``tasks`` are split as the environment's ``info`` says, too. Others: their one instruction, or an
    episode's own description, if it is ``known``."""

    def __init__(self, checkpoint: Checkpoint, tasks: Collection[str] = TASKS) -> None:
        self.card, self.tasks = checkpoint.card, tasks
        self.known = frozenset(checkpoint.card.sub_goals)

    def split(self, task: str, seed: int, picture: Callable[[], np.ndarray]) -> Schedule:
        if task in self.tasks and self.card.sub_goals:
            return sub_goals_of(task, seed, self.card.repeat)
        return ((self.card.tasks[task], 1),)


def rule_of(checkpoint: Checkpoint, tasks: Collection[str] = TASKS) -> RuleSubGoals | None:
    """For checkpoints that were trained on texts of sub-goals; None for others, which know instructions alone."""
    return RuleSubGoals(checkpoint, tasks) if checkpoint.card.sub_goals else None
