"""The score of imagined rollouts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome


@dataclass(frozen=True)
class Objective:
    """A weighted sum of three terms, each in [0, 1], so that their weights can be compared.

    Attributes:
        reward: weight of the discounted mean of the reward / ``reward_scale``.
        success: weight of the discounted probability of the first success, sum_g gamma^g p_g prod_{j<g} (1 - p_j).
        value: weight of the value read out at the last decision (what lies behind the horizon).
        gamma: discount of one decision, in (0, 1].
        disagreement: standard deviations across the futures of a candidate that are taken off its mean score.
        reward_scale: largest reward of a decision, that of the tasks' simulator.
    """

    reward: float = 1.0
    success: float = 1.0
    value: float = 1.0
    gamma: float = 0.95
    disagreement: float = 0.0
    reward_scale: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.gamma <= 1.0:
            raise UserError(f"objective.gamma={self.gamma} must be above 0 and at most 1")
        for name in ("reward", "success", "value", "disagreement"):
            if getattr(self, name) < 0.0:
                raise UserError(f"objective.{name}={getattr(self, name)} must be at least 0")

    def score(self, outcome: Outcome) -> Tensor:
        """Scores (N,) of N rollouts."""
        horizon = outcome.reward.shape[1]
        discount = self.gamma ** torch.arange(horizon, device=outcome.reward.device, dtype=torch.float32)
        scores = torch.zeros(len(outcome.reward), device=outcome.reward.device)
        if self.reward:
            mean_reward = (outcome.reward.float() * discount).sum(1) / discount.sum()
            scores = scores + self.reward * mean_reward / self.reward_scale
        if self.success:
            scores = scores + self.success * first_success(outcome.success.float(), discount)
        if self.value:
            scores = scores + self.value * outcome.value[:, -1].float()
        return scores

    def combine(self, scores: Tensor) -> Tensor:
        """Scores (E, K, N) of N candidates in K futures -> (E, N): mean minus the disagreement of the futures."""
        mean = scores.mean(1)
        if scores.shape[1] == 1 or not self.disagreement:
            return mean
        return mean - self.disagreement * scores.std(1)


def first_success(probability: Tensor, discount: Tensor) -> Tensor:
    """Discounted probability (N,) of a first success inside the horizon, of probability (N, G) and discount (G,)."""
    failed_before = torch.cumprod(1.0 - probability, dim=1).roll(1, dims=1)
    failed_before[:, 0] = 1.0
    return (discount * probability * failed_before).sum(1)
