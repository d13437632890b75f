"""Imagining plans and scoring them: the one place where planners touch the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Key, Stream, draw_seeds
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.simulation import Outcome, Prior, Simulator


class CountedSimulator:
    """A simulator that counts the decisions imagined in it; all else is the simulator's own."""

    def __init__(self, simulator: Simulator[Any]) -> None:
        self.simulator = simulator
        self.device = torch.device(getattr(simulator, "device", "cpu"))
        self.imagined_decisions = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.simulator, name)

    @property
    def denoiser_calls(self) -> int:
        """Denoiser passes so far; 0 for simulators that have no denoiser."""
        return int(getattr(self.simulator, "denoiser_calls", 0))

    def imagine(self, state: Any, actions: Tensor) -> tuple[Any, Outcome]:
        """As ``Simulator.imagine``, counted."""
        self.imagined_decisions += actions.shape[0] * actions.shape[1]
        return self.simulator.imagine(state, actions)

    def video(self, state: Any, frames: int) -> tuple[Any, Tensor, Tensor]:
        """As ``LearnedSimulator.video``, counted."""
        self.imagined_decisions += len(state) * frames
        return self.simulator.video(state, frames)  # type: ignore[attr-defined]

    def fork(self, state: Any, copies: int) -> Any:
        """As ``Simulator.fork``; one copy is the state itself."""
        return self.simulator.fork(state, copies) if copies > 1 else state


@dataclass(frozen=True)
class Problem:
    """What a planner is asked at one decision of E lanes.

    Attributes:
        simulator: where to imagine.
        state: E imagined episodes that have seen the real frames so far.
        keys: random key of each lane at this decision.
        carry: (E, H, A) what the planner left at its last call, moved on by the decisions executed since; zeros where
            ``carried`` (E,) is False.
    """

    simulator: CountedSimulator
    state: Any
    keys: Sequence[Key]
    carry: Tensor
    carried: Tensor

    @property
    def decisions(self) -> list[int]:
        """Decisions executed so far in each lane."""
        return [key[2] for key in self.keys]


@dataclass(frozen=True)
class Plan:
    """A planner's answer: ``actions`` (E, H, A) in [-1, 1] to execute, and what it wants back at its next call."""

    actions: Tensor
    carry: Tensor | None


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


class Futures:
    """K possible futures of each lane. With ``shared_noise`` candidates of a lane meet the same noise, so their scores
    can be compared."""

    def __init__(
        self, problem: Problem, objective: Objective, count: int, stream: int, shared_noise: bool = True
    ) -> None:
        self.problem, self.objective, self.count, self.shared_noise = problem, objective, count, shared_noise
        self._passes = 0
        simulator = problem.simulator
        seeds = draw_seeds(problem.keys, stream, count).flatten()
        self.state = simulator.reseed(simulator.fork(problem.state, count), seeds)

    def score(self, plans: Tensor) -> Tensor:
        """Scores (E, K, N) of plans (E, N, H, A), imagined in one pass."""
        lanes, samples, horizon, action_dim = plans.shape
        simulator = self.problem.simulator
        state = simulator.fork(self.state, samples)
        if not self.shared_noise:
            self._passes += 1
            seeds = draw_seeds(self.problem.keys, Stream.UNSHARED, self.count * samples, self._passes)
            state = simulator.reseed(state, seeds.flatten())
        spread = plans[:, None].expand(lanes, self.count, samples, horizon, action_dim)
        _, outcome = simulator.imagine(state, spread.reshape(-1, horizon, action_dim))
        return self.objective.score(outcome).reshape(lanes, self.count, samples)
