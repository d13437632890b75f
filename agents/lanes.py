"""The book-keeping of episodes played side by side: newest frames, decision number, what is carried over, cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.errors import UserError


@dataclass
class Lane:
    """One episode under way.

    Attributes:
        frames: newest real frames (H, W, 3) uint8, oldest first.
        actions: actions (A,) that led from one of these frames to the next.
        decision: decisions executed so far.
        pending: planned actions (A,) still to be executed before the next plan.
        carry: what the planner left for its next call, (H, A), or None.
        memory: what fast learning keeps of this episode, opaque.
    """

    task: str
    seed: int
    frames: deque[np.ndarray]
    actions: deque[np.ndarray]
    decision: int = 0
    pending: deque[np.ndarray] = field(default_factory=deque)
    carry: np.ndarray | None = None
    memory: Any = None
    cost: PlanCost = field(default_factory=PlanCost)

    def context(self, count: int) -> np.ndarray:
        """The newest ``count`` frames (count, H, W, 3); before there are that many the first is repeated."""
        newest = list(self.frames)[-count:]
        return np.stack([newest[0]] * (count - len(newest)) + newest)

    def played(self, action: np.ndarray) -> None:
        """Note that ``action`` (A,) is executed now."""
        self.actions.append(action)
        self.decision += 1

    def charge(self, seconds: float, denoiser_calls: int, imagined_decisions: int) -> None:
        """Add to the episode's cost."""
        self.cost = replace(
            self.cost,
            plan_seconds=self.cost.plan_seconds + seconds,
            denoiser_calls=self.cost.denoiser_calls + denoiser_calls,
            imagined_decisions=self.cost.imagined_decisions + imagined_decisions,
        )


class Lanes:
    """Lanes by number. ``history`` is how many of the newest frames are kept of each; None: all of the episode."""

    def __init__(self, history: int | None) -> None:
        self.history = history
        self._lanes: dict[int, Lane] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``. Raises UserError for a negative seed."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            if seed < 0:
                raise UserError(f"seed={seed} must be at least 0")
            frames: deque[np.ndarray] = deque(maxlen=self.history)
            actions: deque[np.ndarray] = deque(maxlen=None if self.history is None else max(1, self.history - 1))
            self._lanes[int(lane)] = Lane(task, int(seed), frames, actions)

    def __getitem__(self, lane: int) -> Lane:
        try:
            return self._lanes[int(lane)]
        except KeyError:
            raise UserError(f"lane={lane} plays no episode; call reset with it first") from None

    def observe(self, lanes: Sequence[int], frames: np.ndarray) -> list[Lane]:
        """Add the newest frame of each lane, frames (E, H, W, 3) uint8; the lanes in that order."""
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) != len(lanes):
            raise UserError(
                f"frames of shape {frames.shape} and type {frames.dtype} do not fit {len(lanes)} lanes;"
                f" give ({len(lanes)}, H, W, 3) uint8"
            )
        named = [self[lane] for lane in lanes]
        for lane, frame in zip(named, frames, strict=True):
            lane.frames.append(frame.copy())
        return named
