"""Agents that imagine nothing: they answer what the newest real frames show, such as a behaviour-cloned prior alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.lanes import Lanes
from sfvgen_plan.agents.noise import Stream, draw_seeds
from sfvgen_plan.simulation import Prior


class ReactiveAgent:
    """Plays what ``answer`` says to the newest ``context`` real frames (a ``BatchAgent``). The simulator only turns
    frames into states."""

    def __init__(self, simulator: Any, context: int = 2, seed: int = 0) -> None:
        self.simulator, self.context, self.seed = simulator, context, seed
        self.lanes = Lanes(history=context)

    def answer(self, lanes: Sequence[int], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1] for the state of these lanes."""
        raise NotImplementedError

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``."""
        self.lanes.reset(lanes, tasks, seeds)

    @torch.inference_mode()
    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        started = time.perf_counter()
        observed = self.lanes.observe(lanes, frames)
        keys = [(self.seed, lane.seed, lane.decision) for lane in observed]
        state = self.simulator.begin(
            np.stack([lane.context(self.context) for lane in observed]),
            [lane.task for lane in observed],
            draw_seeds(keys, Stream.BEGIN, 1)[:, 0].tolist(),
        )
        actions = self.answer(lanes, state)
        seconds = (time.perf_counter() - started) / len(observed)
        for lane, action in zip(observed, actions, strict=True):
            lane.played(action)
            lane.charge(seconds, 0, 0)
        return actions

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode: time only."""
        return self.lanes[lane].cost


class PriorAgent(ReactiveAgent):
    """Plays the prior's action."""

    def __init__(self, simulator: Any, prior: Prior[Any], *, context: int = 2, seed: int = 0) -> None:
        super().__init__(simulator, context, seed)
        self.prior = prior

    def answer(self, lanes: Sequence[int], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1]."""
        return self.prior.act(state).float().clamp(-1.0, 1.0).cpu().numpy()
