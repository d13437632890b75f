"""The agent that plans: it follows its episodes in imagination, asks a planner, and plays its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.agents.rollout import CountedSimulator, Plan, Problem, shift
from sfvgen_plan.agents.sub_goals import SubGoals
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Simulator


class Planner(Protocol):
    """Plans E independent problems at once."""

    @property
    def horizon(self) -> int:
        """Decisions H of a plan."""

    def plan(self, problem: Problem) -> Plan:
        """What to do in each lane."""


class PlanningAgent(FollowingAgent):
    """Plays lanes by planning (a ``BatchAgent``).

    Args:
        simulator: where episodes are followed and plans are imagined.
        planner: a search, or a planner of videos.
        replan_every: decisions of a plan that are executed before the next plan; 1 uses all feedback there is.
        seed: of the agent's own random numbers, at least 0.
        sub_goals: what each decision is for; None: what the tasks' instructions say.
    """

    def __init__(
        self,
        simulator: Simulator[Any],
        planner: Planner,
        *,
        replan_every: int = 1,
        seed: int = 0,
        sub_goals: SubGoals | None = None,
    ) -> None:
        if not 1 <= replan_every <= planner.horizon:
            raise UserError(f"replan_every={replan_every} must be between 1 and horizon={planner.horizon}")
        super().__init__(CountedSimulator(simulator), seed, sub_goals)
        self.planner, self.replan_every = planner, replan_every

    @torch.no_grad()
    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        with self._charged([self.lanes[lane] for lane in lanes]):
            observed, state = self.lanes.observe(lanes, frames)
        due = [place for place, lane in enumerate(observed) if not lane.pending]
        if due:
            group = [observed[place] for place in due]
            with self._charged(group):
                self._plan(group, state if len(due) == len(observed) else self.simulator.select(state, due))
        actions = np.stack([lane.pending.popleft() for lane in observed])
        for lane, action in zip(observed, actions, strict=True):
            lane.played(action)
        return actions

    def _plan(self, lanes: Sequence[Lane], state: Any) -> None:
        """Fill ``pending`` of each lane from a new plan."""
        shape = (self.planner.horizon, self.simulator.action_dim)
        carry = np.stack([np.zeros(shape, np.float32) if lane.carry is None else lane.carry for lane in lanes])
        plan = self.planner.plan(
            Problem(
                simulator=self.simulator,
                state=state,
                tasks=[lane.task for lane in lanes],
                keys=self.lanes.keys(lanes),
                carry=torch.from_numpy(carry).to(self.simulator.device),
                carried=torch.tensor([lane.carry is not None for lane in lanes], device=self.simulator.device),
            )
        )
        for lane, planned in zip(lanes, plan.actions[:, : self.replan_every].float().cpu().numpy(), strict=True):
            lane.pending.extend(planned)
        left = None if plan.carry is None else shift(plan.carry, self.replan_every).float().cpu().numpy()
        for place, lane in enumerate(lanes):
            lane.carry = None if left is None else left[place]

    @contextmanager
    def _charged(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Charge each lane its share of what is done: of the time, and of the decisions imagined. A denoiser pass
        counts for every lane in it, as if the lane had been alone."""
        started = time.perf_counter()
        calls, imagined = self.simulator.denoiser_calls, self.simulator.imagined_decisions
        yield
        seconds = (time.perf_counter() - started) / len(lanes)
        calls = self.simulator.denoiser_calls - calls
        imagined = (self.simulator.imagined_decisions - imagined) // len(lanes)
        for lane in lanes:
            lane.charge(seconds, calls, imagined)
