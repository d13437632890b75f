"""Model predictive path integral control: move the plan to the mean of its samples, weighted by their scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.agents.cem import Evaluate, check_search, first_candidates, keep_best
from sfvgen_plan.errors import UserError


def softmax_weights(scores: Tensor, temperature: float) -> Tensor:
    """Weights (E, N) that sum to 1. The temperature is in standard deviations of the lane's own scores (E, N), so that
    it means the same for every task and weighting of the objective."""
    spread = scores.std(1, correction=0, keepdim=True).clamp_min(1e-6)
    return torch.softmax(scores / (spread * temperature), dim=1)


@dataclass(frozen=True)
class MPPI:
    """Model predictive path integral control.

    Attributes:
        samples: candidates of an iteration.
        iterations: rounds of sampling.
        sigma: standard deviation of the samples, in units of the action.
        decay: factor on ``sigma`` from one iteration to the next, in (0, 1].
        temperature: of the weights, in standard deviations of the scores; lower is greedier.
        answer: "mean" (weighted), or the "best" candidate seen.
    """

    samples: int = 64
    iterations: int = 3
    sigma: float = 0.5
    decay: float = 0.7
    temperature: float = 0.3
    answer: str = "mean"

    def __post_init__(self) -> None:
        check_search(self.samples, self.iterations, self.sigma, self.answer)
        if not 0.0 < self.decay <= 1.0:
            raise UserError(f"decay={self.decay} must be above 0 and at most 1")
        if self.temperature <= 0.0:
            raise UserError(f"temperature={self.temperature} must be above 0")

    def optimise(self, evaluate: Evaluate, mean: Tensor, guests: Tensor, noise: Tensor) -> Tensor:
        """See ``cem.Optimiser``."""
        best: tuple[Tensor, Tensor] | None = None
        for iteration in range(self.iterations):
            sigma = self.sigma * self.decay**iteration
            plans = (mean[:, None] + sigma * noise[:, iteration]).clamp(-1.0, 1.0)
            plans = first_candidates(mean, guests if iteration == 0 else guests[:, :0], plans)
            scores = evaluate(plans)
            best = keep_best(plans, scores, best)
            mean = (softmax_weights(scores, self.temperature)[..., None, None] * plans).sum(1)
        assert best is not None
        return mean if self.answer == "mean" else best[0]
