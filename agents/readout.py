"""The scripted expert without privileges: it acts on what the checkpoint reads out of frames, real or imagined."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.expert import expert_of
from sfvgen_plan.agents.lanes import Lanes
from sfvgen_plan.envs.family import family_of, resolve
from sfvgen_plan.simulation import Outcome


class Reader(Protocol):
    """What the agent needs of a simulator."""

    def begin(self, frames: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]) -> Any:
        """As ``Simulator.begin``."""

    def read(self, state: Any) -> Outcome:
        """What the heads say of every episode's newest frame (G = 1)."""


class ReadoutExpert:
    """Plays a simulator's scripted experts on the read-outs of the newest frames (a ``BatchAgent``).

    Read-outs have no orientations and no second object, so tasks whose policy needs those are beyond it.

    Args:
        simulator: turns frames into read-outs (those of the tasks' simulator).
        context: frames that they are read from.
    """

    def __init__(self, simulator: Reader, context: int = 2) -> None:
        self.simulator, self.context = simulator, context
        self.lanes = Lanes(history=context)
        self._policies: dict[int, Callable[[np.ndarray], np.ndarray]] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``.

        Raises:
            UserError: a task that has no scripted policy.
        """
        self.lanes.reset(lanes, tasks, seeds)
        self._policies.update({int(lane): policy_of(task) for lane, task in zip(lanes, tasks, strict=True)})

    @torch.inference_mode()
    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, 4) in [-1, 1]."""
        started = time.perf_counter()
        observed = self.lanes.observe(lanes, frames)
        pairs = np.stack([lane.context(self.context) for lane in observed])
        state = self.simulator.begin(pairs, [lane.task for lane in observed], [0] * len(observed))
        estimates = self.simulator.read(state).estimates[:, -1].float().cpu().numpy()
        actions = np.stack([self._policies[int(lane)](e) for lane, e in zip(lanes, estimates, strict=True)])
        seconds = (time.perf_counter() - started) / len(observed)
        for lane, action in zip(observed, actions, strict=True):
            lane.played(action)
            lane.charge(seconds, 0, 0)
        return actions

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode: time only."""
        return self.lanes[lane].cost


def policy_of(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """The task's scripted expert as a function of read-outs (D,)."""
    expert: Any = expert_of(task)
    state_of = resolve(family_of(task).state_of)
    return lambda estimates: expert.act_on_state(state_of(estimates))
