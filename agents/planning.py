"""The agent that plans: it begins to imagine from the newest real frames, asks a planner, and plays its answer."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.lanes import Lane, Lanes
from sfvgen_plan.agents.memory import EpisodeMemory
from sfvgen_plan.agents.noise import Key, Stream, draw_seeds
from sfvgen_plan.agents.rollout import CountedSimulator, Plan, Problem, shift
from sfvgen_plan.errors import UserError, check_number
from sfvgen_plan.simulation import Simulator


class Planner(Protocol):
    """Plans E independent problems at once."""

    @property
    def horizon(self) -> int:
        """Decisions H of a plan."""

    def phase(self, decision: int) -> int:
        """Lanes whose decisions are in the same phase are planned together; they cost the same."""

    def plan(self, problem: Problem) -> Plan:
        """What to do in each lane."""


class PlanningAgent:
    """Plays lanes by planning (a ``BatchAgent``).

    Args:
        simulator: where plans are imagined.
        planner: CEM or MPPI search, or planning guided by a prior.
        context: real frames P that the imagination begins from.
        replan_every: decisions of a plan that are executed before the next plan; 1 uses all feedback there is.
        memory_every: fast learning after every so many decisions; None for no memory (see ``memory``).
        memory_whole: learn from all frames of the episode, not from the newest chunk alone.
        seed: of the agent's own random numbers, at least 0.
    """

    def __init__(
        self,
        simulator: Simulator[Any],
        planner: Planner,
        *,
        context: int = 2,
        replan_every: int = 1,
        memory_every: int | None = None,
        memory_whole: bool = False,
        seed: int = 0,
    ) -> None:
        check_number("context", context, 1)
        if not 1 <= replan_every <= planner.horizon:
            raise UserError(f"replan_every={replan_every} must be between 1 and horizon={planner.horizon}")
        if memory_every is not None:
            check_number("memory_every", memory_every, 1)
        self.simulator = CountedSimulator(simulator)
        self.planner = planner
        self.context, self.replan_every, self.seed = context, replan_every, seed
        self.memory = None if memory_every is None else EpisodeMemory(simulator, memory_every, context, memory_whole)
        self.lanes = Lanes(history=None if memory_whole else (memory_every or 0) + context)

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``."""
        self.lanes.reset(lanes, tasks, seeds)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        observed = self.lanes.observe(lanes, frames)
        # Fast learning needs gradients, so it stays outside of the inference mode that plans are made in.
        if self.memory is not None:
            self._charged(observed, partial(self.memory.learn, observed))
        due: dict[int, list[Lane]] = defaultdict(list)
        for lane in observed:
            if not lane.pending:
                due[self.planner.phase(lane.decision)].append(lane)
        for group in due.values():
            self._charged(group, partial(self._plan, group))
        actions = np.stack([lane.pending.popleft() for lane in observed])
        for lane, action in zip(observed, actions, strict=True):
            lane.played(action)
        return actions

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode."""
        return self.lanes[lane].cost

    @torch.inference_mode()
    def _plan(self, lanes: Sequence[Lane]) -> None:
        """Fill ``pending`` of each lane from a new plan."""
        keys: list[Key] = [(self.seed, lane.seed, lane.decision) for lane in lanes]
        frames = np.stack([lane.context(self.context) for lane in lanes])
        begin_seeds = draw_seeds(keys, Stream.BEGIN, 1)[:, 0].tolist()
        state = self.simulator.begin(frames, [lane.task for lane in lanes], begin_seeds)
        if self.memory is not None:
            state = self.memory.recall(state, lanes)
        shape = (self.planner.horizon, self.simulator.action_dim)
        carry = np.stack([np.zeros(shape, np.float32) if lane.carry is None else lane.carry for lane in lanes])
        plan = self.planner.plan(
            Problem(
                simulator=self.simulator,
                state=state,
                keys=keys,
                carry=torch.from_numpy(carry).to(self.simulator.device),
                carried=torch.tensor([lane.carry is not None for lane in lanes], device=self.simulator.device),
            )
        )
        for lane, planned in zip(lanes, plan.actions[:, : self.replan_every].float().cpu().numpy(), strict=True):
            lane.pending.extend(planned)
        left = None if plan.carry is None else shift(plan.carry, self.replan_every).float().cpu().numpy()
        for place, lane in enumerate(lanes):
            lane.carry = None if left is None else left[place]

    def _charged(self, lanes: Sequence[Lane], work: Callable[[], None]) -> None:
        """Do ``work`` for these lanes and charge each its share: of the time, and of the decisions imagined. A denoiser
        pass counts for every lane in it, as if the lane had been alone."""
        started = time.perf_counter()
        calls, imagined = self.simulator.denoiser_calls, self.simulator.imagined_decisions
        work()
        seconds = (time.perf_counter() - started) / len(lanes)
        calls = self.simulator.denoiser_calls - calls
        imagined = (self.simulator.imagined_decisions - imagined) // len(lanes)
        for lane in lanes:
            lane.charge(seconds, calls, imagined)
