"""Imagining plans and scoring them: the one place where planners touch the simulator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Key, Stream, draw_seeds
from sfvgen_plan.agents.objective import Score
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome, Simulator


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

    def play(self, state: Any, policy: Callable[[int, Tensor], Tensor], decisions: int) -> tuple[Any, Outcome, Tensor]:
        """As ``LearnedSimulator.play``, counted."""
        after, outcome, actions = self.simulator.play(state, policy, decisions)  # type: ignore[attr-defined]
        self.imagined_decisions += actions.shape[0] * actions.shape[1]
        return after, outcome, actions

    def video(self, state: Any, frames: int) -> tuple[Any, Tensor, Tensor]:
        """As ``LearnedSimulator.video``, counted."""
        self.imagined_decisions += len(state) * frames
        return self.simulator.video(state, frames)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Problem:
    """What a planner is asked at one decision of E lanes.

    Attributes:
        simulator: where to imagine.
        state: E imagined episodes that have seen the real frames so far.
        tasks: what each lane plays.
        keys: random key of each lane at this decision.
        carry: (E, H, A) what the planner left at its last call, moved on by the decisions executed since; zeros where
            ``carried`` (E,) is False.
    """

    simulator: CountedSimulator
    state: Any
    tasks: Sequence[str]
    keys: Sequence[Key]
    carry: Tensor
    carried: Tensor


@dataclass(frozen=True)
class Plan:
    """A planner's answer: ``actions`` (E, H, A) in [-1, 1] to execute, and what it wants back at its next call."""

    actions: Tensor
    carry: Tensor | None


def shift(plan: Tensor, decisions: int = 1) -> Tensor:
    """The plan (..., H, A) so many decisions later, at most H; its last action is repeated."""
    return torch.cat([plan[..., decisions:, :], plan[..., -1:, :].expand_as(plan[..., :decisions, :])], dim=-2)


class Futures:
    """K possible futures of each lane. All candidates of a lane meet the same noise, so that their scores can be
    compared.

    Args:
        problem: the lanes.
        score_of: task -> its score.
        count: K.
        penalty: score that a candidate loses where its futures lie one standard deviation of the latents apart.
    """

    def __init__(self, problem: Problem, score_of: Callable[[str], Score], count: int, penalty: float) -> None:
        self.simulator, self._count, self._penalty = problem.simulator, count, penalty
        self._lanes = len(problem.tasks)
        self._scores: dict[Score, list[int]] = defaultdict(list)
        for lane, task in enumerate(problem.tasks):
            self._scores[score_of(task)].append(lane)
        seeds = draw_seeds(problem.keys, Stream.FUTURES, count).flatten()
        self._state = self.simulator.reseed(self.simulator.fork(problem.state, count), seeds)

    def imagined(self, plans: Tensor) -> Tensor:
        """Scores (E, N) of plans (E, N, H, A)."""
        samples = plans.shape[1]
        spread = plans[:, None].expand(-1, self._count, *plans.shape[1:]).flatten(0, 2)
        _, outcome = self.simulator.imagine(self.simulator.fork(self._state, samples), spread)
        return self._scored(outcome, samples)

    def played(self, policy: Callable[[int, Tensor], Tensor], samples: int, decisions: int) -> tuple[Tensor, Tensor]:
        """Scores (E, N) of N candidates that choose their actions as they go, and these actions (E, N, G, A), means
        over the futures.

        Args:
            policy: number of the decision, and features (E, K, N, F) -> actions (E, K, N, A).
            samples: N.
            decisions: G.
        """
        shape = (self._lanes, self._count, samples)

        def choose(g: int, features: Tensor) -> Tensor:
            return policy(g, features.unflatten(0, shape)).flatten(0, 2)

        _, outcome, actions = self.simulator.play(self.simulator.fork(self._state, samples), choose, decisions)
        return self._scored(outcome, samples), actions.unflatten(0, shape).mean(1)

    def _scored(self, outcome: Outcome, samples: int) -> Tensor:
        """Scores (E, N) of an outcome of E x K x N episodes."""
        count = len(outcome.reward)
        scores = torch.empty(self._lanes, count // self._lanes, device=outcome.reward.device)
        for score, lanes in self._scores.items():
            found = score(outcome)
            if found.shape != (count,):
                raise UserError(
                    f"objective gives scores of shape {tuple(found.shape)} for {count} episodes; give one each"
                )
            scores[lanes] = found.float().unflatten(0, (self._lanes, -1))[lanes]
        scores = scores.unflatten(1, (self._count, samples))
        if self._count == 1:
            return scores[:, 0]
        return scores.mean(1) - (self._penalty * self._doubt(outcome, samples) if self._penalty else 0.0)

    def _doubt(self, outcome: Outcome, samples: int) -> Tensor:
        """(E, N): the standard deviation of the latents across a candidate's futures at its end. ``fidelity.penalty``
        measures how well this and other signs of doubt foretell true errors."""
        assert outcome.latents is not None, "futures only differ where frames are imagined"
        last = outcome.latents[:, -1].float().flatten(1)
        return last.unflatten(0, (self._lanes, self._count, samples)).std(1).mean(-1)
