"""The score of imagined rollouts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.envs.family import families, resolve
from sfvgen_plan.errors import check_number
from sfvgen_plan.simulation import Outcome

Score = Callable[[Outcome], Tensor]  # an outcome of N episodes -> how good each is (N,)


@dataclass(frozen=True)
class Objective:
    """A weighted sum of three terms, each at most 1 in size, so that their weights can be compared. What would come
    after an imagined episode has ended counts as likely as it goes on."""

    reward_weight: float = 1.0  # of the discounted mean of the reward / reward_scale
    # of the discounted probability of the first success, sum_g d^g p_g prod_{j<g} (1 - p_j)
    success_weight: float = 1.0
    value_weight: float = 1.0  # of the value read out at the last decision (what lies behind the horizon)
    discount: float = 0.95  # d, of one decision, in (0, 1]
    reward_scale: float = 1.0  # largest size of a decision's reward, that of the checkpoint's card

    def __post_init__(self) -> None:
        check_number("discount", self.discount, 0, 1, above=True)
        for name in ("reward_weight", "success_weight", "value_weight"):
            check_number(name, getattr(self, name), 0)

    def __call__(self, outcome: Outcome) -> Tensor:
        """Scores (N,) of N rollouts."""
        steps = torch.arange(outcome.reward.shape[1], device=outcome.reward.device)
        discount = self.discount ** steps.float()
        goes_on, beyond = going_on(outcome)
        scores = torch.zeros(len(outcome.reward), device=outcome.reward.device)
        if self.reward_weight:
            mean_reward = (outcome.reward.float() * discount * goes_on).sum(1) / discount.sum()
            scores = scores + self.reward_weight * mean_reward / self.reward_scale
        if self.success_weight:
            scores = scores + self.success_weight * first_success(outcome.success.float(), discount * goes_on)
        if self.value_weight:
            scores = scores + self.value_weight * outcome.value[:, -1].float() * beyond
        return scores


@dataclass(frozen=True)
class TaskObjective:
    """A task -> its score: what its simulator has for it, or else ``usual``."""

    usual: Objective = Objective()

    def __call__(self, task: str) -> Score:
        objective = next((item.objective for item in families() if task in item.tasks), "")
        return resolve(objective)(task) if objective else self.usual


def going_on(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Probability that a rollout comes to each of its decisions (N, G), and that it goes on after the last one (N,)."""
    if outcome.termination is None:
        return torch.ones_like(outcome.reward), torch.ones_like(outcome.reward[:, 0])
    after = torch.cumprod(1.0 - outcome.termination.float(), dim=1)
    return torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1), after[:, -1]


def first_success(probability: Tensor, discount: Tensor) -> Tensor:
    """Discounted probability (N,) of a first success inside the horizon, of probability (N, G) and discount (N, G)."""
    failed_before = torch.cumprod(1.0 - probability, dim=1).roll(1, dims=1)
    failed_before[:, 0] = 1.0
    return (discount * probability * failed_before).sum(1)
