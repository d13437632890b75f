"""The seam between a planning agent and fast learning: which real experience is remembered, and when.

A plan begins from real frames at every decision, so what was learned of the episode lives outside the imagined state:
one opaque memory a lane. Every ``every`` decisions the agent hands the newest real chunk to the simulator and keeps the
memory it returns; at every plan it puts the lane's memory into the imagined state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sfvgen_plan.agents.lanes import Lane
from sfvgen_plan.errors import UserError


@runtime_checkable
class RememberingSimulator(Protocol):
    """What a simulator offers so that agents can remember real experience."""

    def remember_frames(
        self,
        memories: Sequence[Any],
        frames: np.ndarray,
        actions: np.ndarray,
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> list[Any]:
        """Fast learning on one real chunk of each of E episodes; nothing given is changed.

        Args:
            memories: what was learned before, None for nothing yet.
            frames: (E, P+T, H, W, 3) uint8, oldest first; more of them where it learns from whole episodes.
            actions: (E, T, A) in [-1, 1] that led to each of the last T frames.
            tasks: task names (E,).
            seeds: random seeds (E,) of the learning noise.
        """

    def recall(self, state: Any, memories: Sequence[Any]) -> Any:
        """The E imagined episodes of ``state`` with these memories; None stands for no memory."""


class EpisodeMemory:
    """Calls fast learning for the lanes that are due.

    Args:
        simulator: that remembers.
        every: T, the decisions of a chunk.
        context: P, the frames before it that it is joined with: the input that such a chunk is imagined from.
        whole: show it all frames since the episode's start with every chunk; the lanes have to keep them.
    """

    def __init__(self, simulator: Any, every: int, context: int, whole: bool = False) -> None:
        if not isinstance(simulator, RememberingSimulator):
            raise UserError(
                f"memory=true needs a simulator that remembers, {type(simulator).__name__} does not; use memory=false"
            )
        self.simulator, self.every, self.context, self.whole = simulator, every, context, whole

    def learn(self, lanes: Sequence[Lane]) -> None:
        """Learn from the newest chunk of every lane that has just finished one."""
        due: dict[int, list[Lane]] = defaultdict(list)
        for lane in lanes:
            if lane.decision and lane.decision % self.every == 0:
                due[lane.decision if self.whole else self.every].append(lane)
        for length, group in due.items():
            self._learn(group, length)

    def _learn(self, due: Sequence[Lane], length: int) -> None:
        """One batch, of the newest ``length`` decisions."""
        before = 1 if self.whole else self.context
        learned = self.simulator.remember_frames(
            [lane.memory for lane in due],
            np.stack([lane.context(before + length) for lane in due]),
            np.stack([np.stack(list(lane.actions)[-self.every :]) for lane in due]),
            [lane.task for lane in due],
            [lane.seed for lane in due],
        )
        for lane, memory in zip(due, learned, strict=True):
            lane.memory = memory

    def recall(self, state: Any, lanes: Sequence[Lane]) -> Any:
        """``state`` with the memory of each lane."""
        if all(lane.memory is None for lane in lanes):
            return state
        return self.simulator.recall(state, [lane.memory for lane in lanes])
