"""What the memory tasks are made of: coloured things, language actions with their decisions, and episodes that are
laid out by the seed."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.errors import UserError

Schedule = tuple[tuple[str, int], ...]
"""Texts of sub-goals in their order, each with its number of decisions; the last one stays."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.9, 0.05, 0.05),
    "green": (0.1, 0.75, 0.1),
    "blue": (0.1, 0.2, 0.95),
    "yellow": (0.95, 0.85, 0.05),
    "purple": (0.6, 0.1, 0.75),
}
"""RGB in [0, 1]."""


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


def nearest(places: np.ndarray) -> float:
    """Least distance between any two of several places (n, 2) or (n, 3), metres; infinite for one."""
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return float((gaps + np.diag(np.full(len(places), np.inf))).min())


class LaidOutEnv(DecisionEnv):
    """An environment whose episodes are layouts, immutable values with a ``schedule`` of sub-goals. ``info`` also has
    ``sub_goals`` (all texts), ``sub_goal`` (the current text) and ``sub_goal_index``."""

    _layout: Any = None

    @property
    def layout(self) -> Any:
        """What the episode is. Raises UserError: there is none yet."""
        if self._layout is None:
            raise UserError("there is no episode yet; call reset first")
        return self._layout

    @property
    def length(self) -> int:
        """Decisions until truncation: the layout's, or ``max_decisions`` if they are fewer."""
        decisions = sum(decisions for _, decisions in self.layout.schedule)
        return min(decisions, self.max_decisions or decisions)

    @property
    def sub_goal_index(self) -> int:
        """Which sub-goal the next decision works on."""
        return sub_goal_at(self.layout.schedule, self._decisions)

    def _info(self, success: bool) -> dict[str, Any]:
        texts, index = tuple(text for text, _ in self.layout.schedule), self.sub_goal_index
        return super()._info(success) | {"sub_goals": texts, "sub_goal": texts[index], "sub_goal_index": index}

    @abstractmethod
    def _lay_out(self, seed: int) -> Any:
        """The layout of an episode, a picklable value."""
