"""Optimisers of plans: the cross-entropy method, and model predictive path integral control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError, check_number

Evaluate = Callable[[Tensor], Tensor]
"""Plans (E, N, H, A) in [-1, 1] -> scores (E, N), higher is better."""


class Optimiser(Protocol):
    """Searches for the best plan of E independent problems at once."""

    @property
    def candidates(self) -> int:
        """Plans scored in an iteration."""

    @property
    def iterations(self) -> int:
        """Rounds of candidates."""

    def optimise(self, evaluate: Evaluate, start: Tensor, noise: Tensor, reach: float = 2.0) -> Tensor:
        """The plan found, (E, H, A).

        Args:
            evaluate: scores plans.
            start: (E, M, H, A) plans among the first candidates; the search begins around the first of them.
            noise: (E, iterations, candidates, H, A) unit normal.
            reach: most that any number may differ from the first plan of ``start``; 2 is no limit.
        """


@dataclass(frozen=True)
class CEM:
    """The cross-entropy method: narrow a Gaussian over plans to its best samples, again and again.

    Attributes:
        candidates: plans scored in an iteration.
        iterations: rounds of candidates.
        elites: best candidates that the next Gaussian is fitted to.
        sigma: standard deviation of the first iteration, in units of the action.
        min_sigma: least standard deviation.
        momentum: share of the old mean and deviation that is kept, in [0, 1].
    """

    candidates: int = 64
    iterations: int = 3
    elites: int = 8
    sigma: float = 0.6
    min_sigma: float = 0.05
    momentum: float = 0.1

    def __post_init__(self) -> None:
        _check_sampling(self.candidates, self.iterations, self.sigma)
        _check_elites(self.elites, self.candidates)
        check_number("min_sigma", self.min_sigma, 0)
        check_number("momentum", self.momentum, 0, 1)

    def optimise(self, evaluate: Evaluate, start: Tensor, noise: Tensor, reach: float = 2.0) -> Tensor:
        """See ``Optimiser``: the mean of the last Gaussian."""
        mean, known = start[:, 0], start
        sigma = torch.full_like(mean, self.sigma)
        for drawn in noise.unbind(1):
            plans = _around(mean, known, sigma[:, None] * drawn, start[:, :1], reach)
            elites = _pick(plans, evaluate(plans).topk(self.elites, dim=1).indices)
            mean = self.momentum * mean + (1.0 - self.momentum) * elites.mean(1)
            spread = elites.std(1, correction=0)
            sigma = (self.momentum * sigma + (1.0 - self.momentum) * spread).clamp_min(self.min_sigma)
            known = start[:, :0]
        return mean


@dataclass(frozen=True)
class MPPI:
    """Model predictive path integral control: move the plan to the mean of its samples, weighted by their scores.

    Attributes:
        candidates: plans scored in an iteration.
        iterations: rounds of candidates.
        sigma: standard deviation of the samples, in units of the action.
        decay: factor on ``sigma`` from one iteration to the next, in (0, 1].
        temperature: of the weights, in standard deviations of the lane's scores, so that it means the same for every
            task and objective; lower is greedier.
        elites: best candidates that the mean is taken over; None for all.
    """

    candidates: int = 64
    iterations: int = 3
    sigma: float = 0.5
    decay: float = 0.7
    temperature: float = 0.3
    elites: int | None = None

    def __post_init__(self) -> None:
        _check_sampling(self.candidates, self.iterations, self.sigma)
        check_number("decay", self.decay, 0, 1, above=True)
        check_number("temperature", self.temperature, 0, above=True)
        if self.elites is not None:
            _check_elites(self.elites, self.candidates)

    def optimise(self, evaluate: Evaluate, start: Tensor, noise: Tensor, reach: float = 2.0) -> Tensor:
        """See ``Optimiser``: the weighted mean of the last candidates."""
        mean, known = start[:, 0], start
        for iteration, drawn in enumerate(noise.unbind(1)):
            plans = _around(mean, known, self.sigma * self.decay**iteration * drawn, start[:, :1], reach)
            best = evaluate(plans).topk(self.elites or self.candidates, dim=1)
            spread = best.values.std(1, correction=0, keepdim=True).clamp_min(1e-6)
            weights = torch.softmax(best.values / (spread * self.temperature), dim=1)
            mean = (weights[..., None, None] * _pick(plans, best.indices)).sum(1)
            known = mean[:, None]
        return mean


def _around(mean: Tensor, known: Tensor, offsets: Tensor, center: Tensor, reach: float) -> Tensor:
    """Candidates (E, N, H, A) within reach of ``center`` (E, 1, H, A): ``known`` plans (E, M, H, A) and, from the M-th
    on, ``mean`` (E, H, A) with ``offsets`` (E, N, H, A)."""
    plans = torch.cat([known, mean[:, None] + offsets[:, known.shape[1] :]], dim=1)
    return plans.clamp((center - reach).clamp_min(-1.0), (center + reach).clamp_max(1.0))


def _pick(plans: Tensor, index: Tensor) -> Tensor:
    """Plans (E, M, H, A) that ``index`` (E, M) names among (E, N, H, A)."""
    return plans.gather(1, index[..., None, None].expand(-1, -1, *plans.shape[2:]))


def _check_sampling(candidates: int, iterations: int, sigma: float) -> None:
    check_number("candidates", candidates, 2)
    check_number("iterations", iterations, 1)
    check_number("sigma", sigma, 0, above=True)


def _check_elites(elites: int, candidates: int) -> None:
    if not 1 <= elites <= candidates:
        raise UserError(f"elites={elites} must be between 1 and candidates={candidates}")
