"""Planning by free search: an optimiser over action sequences, started from the last plan or from a prior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.agents.cem import Optimiser
from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.rollout import Futures, Plan, Problem, roll_prior
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Prior


@dataclass(frozen=True)
class SearchPlanner:
    """Optimises plans of ``horizon`` decisions.

    Attributes:
        optimiser: CEM or MPPI.
        objective: what is optimised.
        horizon: decisions of a plan.
        knots: points between which the noise is interpolated over time, 1..horizon; fewer is smoother.
        futures: imagined futures K of each candidate.
        warm_start: start from the last plan, one decision on.
        shared_noise: candidates of a lane meet the same noise.
        chunk: decisions imagined in one pass; None for the whole horizon.
        prior: the search starts at its imagined plan; None to start at the last plan, or at zero actions.
    """

    optimiser: Optimiser
    objective: Objective = field(default_factory=Objective)
    horizon: int = 8
    knots: int = 4
    futures: int = 1
    warm_start: bool = True
    shared_noise: bool = True
    chunk: int | None = None
    prior: Prior[Any] | None = None

    def __post_init__(self) -> None:
        check_horizon(self.horizon, self.knots, self.futures, self.chunk)

    def plan(self, problem: Problem) -> Plan:
        """The plan found for each lane; it is also what is carried over."""
        mean, guests = self._start(problem)
        noise = smooth_noise(
            problem.keys,
            Stream.CANDIDATES,
            rounds=self.optimiser.iterations,
            samples=self.optimiser.samples,
            horizon=self.horizon,
            action_dim=problem.simulator.action_dim,
            knots=self.knots,
            device=mean.device,
        )
        futures = Futures(problem, self.objective, self.futures, Stream.FUTURES, self.shared_noise, self.chunk)
        found = self.optimiser.optimise(lambda plans: self.objective.combine(futures.score(plans)), mean, guests, noise)
        return Plan(found, found)

    def phase(self, decision: int) -> int:
        """The same for every decision."""
        return 0

    def _start(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Where to start (E, H, A), and other plans worth trying (E, M, H, A)."""
        last = problem.carry
        if self.prior is None:
            start = last if self.warm_start else torch.zeros_like(last)
            return start, start[:, None][:, :0]
        nominal = roll_prior(problem, self.prior, self.horizon)
        if not self.warm_start:
            return nominal, nominal[:, None][:, :0]
        return nominal, torch.where(problem.carried[:, None, None], last, nominal)[:, None]


def check_horizon(horizon: int, knots: int, futures: int, chunk: int | None) -> None:
    """UserError for a plan length, smoothness or number of futures that makes no sense."""
    for name, value in (("horizon", horizon), ("futures", futures), ("chunk", chunk)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value} must be at least 1")
    if not 1 <= knots <= horizon:
        raise UserError(f"knots={knots} must be between 1 and horizon={horizon}")
