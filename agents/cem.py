"""The cross-entropy method: narrow a Gaussian over plans to its best samples, again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError

Evaluate = Callable[[Tensor], Tensor]
"""Plans (E, N, H, A) in [-1, 1] -> scores (E, N), higher is better."""


class Optimiser(Protocol):
    """Searches for the best plan of E independent problems at once."""

    @property
    def samples(self) -> int:
        """Candidates of an iteration."""

    @property
    def iterations(self) -> int:
        """Rounds of sampling."""

    def optimise(self, evaluate: Evaluate, mean: Tensor, guests: Tensor, noise: Tensor) -> Tensor:
        """The plan found, (E, H, A).

        Args:
            evaluate: scores plans.
            mean: (E, H, A) where the search starts; it is one of the first candidates.
            guests: (E, M, H, A) further candidates of the first iteration; M may be 0.
            noise: (E, iterations, samples, H, A) unit normal.
        """


def check_search(samples: int, iterations: int, sigma: float, answer: str) -> None:
    """UserError for numbers with which no search can run."""
    if samples < 2:
        raise UserError(f"samples={samples} must be at least 2")
    if iterations < 1:
        raise UserError(f"iterations={iterations} must be at least 1")
    if sigma <= 0.0:
        raise UserError(f"sigma={sigma} must be above 0")
    if answer not in ("mean", "best"):
        raise UserError(f"answer={answer!r} is unknown; choose mean or best")


def first_candidates(mean: Tensor, guests: Tensor, sampled: Tensor) -> Tensor:
    """Candidates (E, N, H, A): the mean and the guests take the place of the first samples (E, N, H, A)."""
    known = torch.cat([mean[:, None], guests], dim=1)
    return torch.cat([known, sampled[:, known.shape[1] :]], dim=1)


def pick(plans: Tensor, index: Tensor) -> Tensor:
    """Plans (E, M, H, A) that ``index`` (E, M) names among (E, N, H, A)."""
    return plans.gather(1, index[..., None, None].expand(-1, -1, *plans.shape[2:]))


def keep_best(plans: Tensor, scores: Tensor, best: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """The best plan (E, H, A) and its score (E,) of these candidates and of ``best`` before them."""
    top, index = scores.max(1)
    plan = pick(plans, index[:, None])[:, 0]
    if best is None:
        return plan, top
    better = top > best[1]
    return torch.where(better[:, None, None], plan, best[0]), torch.where(better, top, best[1])


@dataclass(frozen=True)
class CEM:
    """Cross-entropy method.

    Attributes:
        samples: candidates of an iteration.
        iterations: rounds of sampling.
        elites: best candidates that the next Gaussian is fitted to.
        sigma: standard deviation of the first iteration, in units of the action.
        min_sigma: least standard deviation.
        momentum: share of the old mean and deviation that is kept, in [0, 1).
        answer: "mean" of the last elites, or the "best" candidate seen.
    """

    samples: int = 64
    iterations: int = 3
    elites: int = 8
    sigma: float = 0.6
    min_sigma: float = 0.05
    momentum: float = 0.1
    answer: str = "mean"

    def __post_init__(self) -> None:
        check_search(self.samples, self.iterations, self.sigma, self.answer)
        if not 1 <= self.elites <= self.samples:
            raise UserError(f"elites={self.elites} must be between 1 and samples={self.samples}")

    def optimise(self, evaluate: Evaluate, mean: Tensor, guests: Tensor, noise: Tensor) -> Tensor:
        """See ``Optimiser``."""
        sigma = torch.full_like(mean, self.sigma)
        best: tuple[Tensor, Tensor] | None = None
        for iteration in range(self.iterations):
            plans = (mean[:, None] + sigma[:, None] * noise[:, iteration]).clamp(-1.0, 1.0)
            if iteration == 0:
                plans = first_candidates(mean, guests, plans)
            scores = evaluate(plans)
            best = keep_best(plans, scores, best)
            elites = pick(plans, scores.topk(self.elites, dim=1).indices)
            mean = self.momentum * mean + (1.0 - self.momentum) * elites.mean(1)
            spread = elites.std(1, correction=0)
            sigma = (self.momentum * sigma + (1.0 - self.momentum) * spread).clamp_min(self.min_sigma)
        assert best is not None
        return mean if self.answer == "mean" else best[0]
