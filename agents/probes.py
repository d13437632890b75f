"""Action sequences that no agent would play: what does a simulator make of them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.errors import unknown_name

PROBES = {
    "still": "no movement at all",
    "corner": "one corner of the action space, drawn for each episode, held from beginning to end",
    "flip": "that corner and its opposite in turn",
}
"""Names, and what is played."""


class ProbeAgent:
    """Plays one of ``PROBES`` without looking (a ``BatchAgent``); an episode's actions depend on its seed alone.

    Raises:
        UserError: unknown name.
    """

    def __init__(self, name: str, action_dim: int = 4) -> None:
        if name not in PROBES:
            raise unknown_name("probe", name, PROBES)
        self.name, self.action_dim = name, action_dim
        self._next: dict[int, np.ndarray] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        from sfvgen_plan.agents.noise import Stream, generator  # imports torch, which nobody needs for the names

        for lane, seed in zip(lanes, seeds, strict=True):
            corner = generator((0, int(seed), 0), Stream.PROBE).choice([-1.0, 1.0], self.action_dim)
            self._next[int(lane)] = (0.0 if self.name == "still" else corner) * np.ones(self.action_dim, np.float32)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        actions = np.stack([self._next[int(lane)] for lane in lanes]).astype(np.float32)
        if self.name == "flip":
            self._next.update({int(lane): -action for lane, action in zip(lanes, actions, strict=True)})
        return actions

    def stats(self, lane: int) -> PlanCost:
        return PlanCost()
