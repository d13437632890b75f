"""Planning by free search: an optimiser over action sequences, started from the last plan or from a prior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.optimisers import Optimiser
from sfvgen_plan.agents.rollout import Futures, Plan, Problem, roll_prior
from sfvgen_plan.errors import check_number
from sfvgen_plan.simulation import Prior


@dataclass(frozen=True)
class SearchPlanner:
    """Optimises plans of ``horizon`` decisions (a ``Planner``).

    Attributes:
        optimiser: CEM or MPPI.
        objective: what is optimised.
        horizon: decisions of a plan.
        knots: points between which the noise is interpolated over time; ``horizon`` or more is white noise.
        futures: imagined futures K of each candidate.
        warm_start: the last plan, one decision on, is where the search starts, or beside a prior's a candidate.
        shared_noise: candidates of a lane meet the same noise.
        prior: the search starts at its imagined plan; None to start at the last plan, or at zero actions.
    """

    optimiser: Optimiser
    objective: Objective = field(default_factory=Objective)
    horizon: int = 8
    knots: int = 4
    futures: int = 1
    warm_start: bool = True
    shared_noise: bool = True
    prior: Prior[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("horizon", "knots", "futures"):
            check_number(name, getattr(self, name), 1)

    def phase(self, decision: int) -> int:
        """The same for every decision."""
        return 0

    def plan(self, problem: Problem) -> Plan:
        """The plan found for each lane; it is also what is carried over."""
        found = self._search(problem, self._start(problem), self._imagined(problem, Stream.FUTURES, self.futures))
        return Plan(found, found)

    def _start(self, problem: Problem) -> Tensor:
        """Plans worth trying (E, M, H, A); the search begins around the first."""
        last = problem.carry
        if self.prior is None:
            return (last if self.warm_start else torch.zeros_like(last))[:, None]
        nominal = roll_prior(problem, self.prior, self.horizon)
        if not self.warm_start:
            return nominal[:, None]
        return torch.stack([nominal, torch.where(problem.carried[:, None, None], last, nominal)], dim=1)

    def _imagined(self, problem: Problem, stream: int, count: int) -> Futures:
        return Futures(problem, self.objective, count, stream, self.shared_noise)

    def _search(self, problem: Problem, start: Tensor, futures: Futures, radius: float | None = None) -> Tensor:
        """The plan found (E, H, A). With a radius the noise is a share of it, and plans stay within it."""
        noise = smooth_noise(
            problem.keys,
            Stream.CANDIDATES,
            rounds=self.optimiser.iterations,
            samples=self.optimiser.candidates,
            horizon=self.horizon,
            action_dim=problem.simulator.action_dim,
            knots=self.knots,
            device=start.device,
        )
        scale, reach = (1.0, 2.0) if radius is None else (radius, radius)
        return self.optimiser.optimise(lambda plans: futures.score(plans).mean(1), start, scale * noise, reach)
