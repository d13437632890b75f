"""Agents that imagine nothing: they answer what the real frames so far show, such as a behaviour-cloned prior alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sfvgen_plan.agents.lanes import FollowingAgent
from sfvgen_plan.agents.sub_goals import SubGoals
from sfvgen_plan.simulation import Prior


class ReactiveAgent(FollowingAgent):
    """Plays what ``answer`` says to the state that has seen the real frames so far (a ``BatchAgent``)."""

    def answer(self, lanes: Sequence[int], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1] for the state of these lanes."""
        raise NotImplementedError

    @torch.no_grad()
    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        started = time.perf_counter()
        observed, state = self.lanes.observe(lanes, frames)
        actions = self.answer(lanes, state)
        seconds = (time.perf_counter() - started) / len(observed)
        for lane, action in zip(observed, actions, strict=True):
            lane.played(action)
            lane.charge(seconds)
        return actions


class PriorAgent(ReactiveAgent):
    """Plays the prior's action."""

    def __init__(self, simulator: Any, prior: Prior, *, seed: int = 0, sub_goals: SubGoals | None = None) -> None:
        super().__init__(simulator, seed, sub_goals)
        self.prior = prior

    def answer(self, lanes: Sequence[int], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1]."""
        return self.prior.act(state.features).float().clamp(-1.0, 1.0).cpu().numpy()
