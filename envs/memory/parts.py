"""What the layouts of the memory tasks are made of: coloured things, and language actions with their decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Schedule = tuple[tuple[str, int], ...]
"""Texts of sub-goals in their order, each with its number of decisions; the last one stays."""


@dataclass(frozen=True)
class Thing:
    """Something on the table; ``place`` (x, y) in metres where the layout doesn't tell it otherwise."""

    shape: str
    colour: str
    place: tuple[float, float] = (0.0, 0.0)

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


def sub_goal_at(schedule: Schedule, decision: int) -> int:
    """Index of the sub-goal that the decision after ``decision`` others works on."""
    ends = np.cumsum([decisions for _, decisions in schedule])
    return min(int(np.searchsorted(ends, decision, side="right")), len(ends) - 1)


def text_at(schedule: Schedule, decision: int) -> str:
    """The text of the decision after ``decision`` others."""
    return schedule[sub_goal_at(schedule, decision)][0]


def facts_at(schedule: Schedule, decision: int) -> dict[str, Any]:
    """What ``info`` says of the sub-goals after so many decisions."""
    texts, index = tuple(text for text, _ in schedule), sub_goal_at(schedule, decision)
    return {"sub_goals": texts, "sub_goal": texts[index], "sub_goal_index": index}
