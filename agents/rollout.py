"""Imagining plans and scoring them: the one place where planners touch the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Key, Stream, draw_seeds
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.revisits import Visited
from sfvgen_plan.simulation import Outcome, Prior, Simulator


class CountedSimulator:
    """A simulator that counts the decisions imagined in it."""

    def __init__(self, simulator: Simulator[Any]) -> None:
        self.simulator = simulator
        self.action_dim = simulator.action_dim
        self.device = torch.device(getattr(simulator, "device", "cpu"))
        self.imagined_decisions = 0

    @property
    def denoiser_calls(self) -> int:
        """Denoiser passes so far; 0 for simulators that have no denoiser."""
        return int(getattr(self.simulator, "denoiser_calls", 0))

    def begin(self, frames: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]) -> Any:
        """As ``Simulator.begin``."""
        return self.simulator.begin(frames, tasks, seeds)

    def imagine(self, state: Any, actions: Tensor) -> tuple[Any, Outcome]:
        """As ``Simulator.imagine``, counted."""
        self.imagined_decisions += actions.shape[0] * actions.shape[1]
        return self.simulator.imagine(state, actions)

    def fork(self, state: Any, copies: int) -> Any:
        """As ``Simulator.fork``; one copy is the state itself."""
        return self.simulator.fork(state, copies) if copies > 1 else state

    def select(self, state: Any, index: Sequence[int] | Tensor) -> Any:
        """As ``Simulator.select``."""
        return self.simulator.select(state, index)

    def reseed(self, state: Any, seeds: Sequence[int] | Tensor) -> Any:
        """As ``Simulator.reseed``."""
        return self.simulator.reseed(state, seeds)


@dataclass(frozen=True)
class Problem:
    """What a planner is asked at one decision of E lanes.

    Attributes:
        simulator: where to imagine.
        state: E imagined episodes that begin from the real frames.
        keys: random key of each lane at this decision.
        carry: (E, H, A) what the planner left at its last call, moved on by the decisions executed since; zeros where
            ``carried`` (E,) is False.
        visited: places that were no success, or None.
        broken: (E,) gains that plans promised in this episode and that did not come true, or None.
    """

    simulator: CountedSimulator
    state: Any
    keys: Sequence[Key]
    carry: Tensor
    carried: Tensor
    visited: Visited | None = None
    broken: Tensor | None = None

    @property
    def decisions(self) -> list[int]:
        """Decisions executed so far in each lane."""
        return [key[2] for key in self.keys]


@dataclass(frozen=True)
class Plan:
    """A planner's answer: ``actions`` (E, H, A) in [-1, 1] to execute, what it wants back at its next call, and the
    ``gain`` (E,) over the prior that it promises, 0 where the prior is played."""

    actions: Tensor
    carry: Tensor | None
    gain: Tensor | None = None


def shift(plan: Tensor, decisions: int = 1) -> Tensor:
    """The plan (..., H, A) so many decisions later, at most H; its last action is repeated."""
    return torch.cat([plan[..., decisions:, :], plan[..., -1:, :].expand_as(plan[..., :decisions, :])], dim=-2)


def roll_prior(problem: Problem, prior: Prior[Any], horizon: int) -> Tensor:
    """Actions (E, H, A) of the prior, each chosen on the imagined frame that the one before led to."""
    state, actions = problem.state, [prior.act(problem.state).float()]
    for _ in range(horizon - 1):
        state, _ = problem.simulator.imagine(state, actions[-1][:, None])
        actions.append(prior.act(state).float())
    return torch.stack(actions, dim=1).clamp(-1.0, 1.0)


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """Outcomes of successive decisions as one; latents are dropped, scores need none."""
    return Outcome(
        *(
            torch.cat([getattr(outcome, name) for outcome in outcomes], dim=1)
            for name in ("reward", "success", "value", "estimates")
        )
    )


class Futures:
    """K possible futures of each lane. Candidates of a lane meet the same noise, so their scores can be compared."""

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        count: int = 1,
        stream: int = Stream.FUTURES,
        shared_noise: bool = True,
        chunk: int | None = None,
    ) -> None:
        self.problem, self.objective, self.count = problem, objective, count
        self.shared_noise, self.chunk = shared_noise, chunk
        self._passes = 0
        simulator = problem.simulator
        seeds = draw_seeds(problem.keys, stream, count).flatten()
        self.state = simulator.reseed(simulator.fork(problem.state, count), seeds)

    def score(self, plans: Tensor) -> Tensor:
        """Scores (E, K, N) of plans (E, N, H, A) executed as they stand, ``chunk`` decisions a pass."""
        state, actions = self._lay_out(plans)
        outcomes = []
        for part in actions.split(self.chunk or actions.shape[1], dim=1):
            state, outcome = self.problem.simulator.imagine(state, part)
            outcomes.append(outcome)
        return self._scores(join(outcomes))

    def score_with_feedback(self, offsets: Tensor, prior: Prior[Any]) -> Tensor:
        """Scores (E, K, N) of the prior's own actions plus ``offsets`` (E, N, H, A): the prior sees and answers every
        imagined frame, as it will in the real episode. One decision a pass."""
        state, flat = self._lay_out(offsets)
        outcomes = []
        for offset in flat.unbind(1):
            actions = (prior.act(state).float() + offset).clamp(-1.0, 1.0)
            state, outcome = self.problem.simulator.imagine(state, actions[:, None])
            outcomes.append(outcome)
        return self._scores(join(outcomes))

    def _lay_out(self, plans: Tensor) -> tuple[Any, Tensor]:
        """Forked state and plans of E x K x N rollouts, in that order."""
        lanes, samples, horizon, action_dim = plans.shape
        state = self.problem.simulator.fork(self.state, samples)
        if not self.shared_noise:
            self._passes += 1
            seeds = draw_seeds(self.problem.keys, Stream.UNSHARED, self.count * samples, self._passes)
            state = self.problem.simulator.reseed(state, seeds.flatten())
        spread = plans[:, None].expand(lanes, self.count, samples, horizon, action_dim)
        return state, spread.reshape(-1, horizon, action_dim)

    def _scores(self, outcome: Outcome) -> Tensor:
        if self.problem.visited is not None:
            outcome = self.problem.visited.discount(outcome)
        return self.objective.score(outcome).reshape(len(self.problem.keys), self.count, -1)
