"""The score of imagined rollouts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.envs.family import families, resolve
from sfvgen_plan.simulation import Outcome

Score = Callable[[Outcome], Tensor]  # an outcome of N episodes -> how good each is (N,)


DISCOUNT = 0.95  # d, of one decision


@dataclass(frozen=True)
class Objective:
    """The sum of three terms, each at most 1 in size: the discounted mean of the reward, in units of its scale; the
    discounted probability of the first success, sum_g d^g p_g prod_{j<g} (1 - p_j); and the value of the last decision,
    which is what lies behind the horizon. What would come after an imagined episode has ended counts as likely as it
    goes on."""

    reward_scale: float = 1.0  # largest size of a decision's reward, that of the checkpoint's card
    reward_weight: float = 1.0  # 0 where the reward misleads

    def __call__(self, outcome: Outcome) -> Tensor:
        """Scores (N,) of N rollouts."""
        discount = DISCOUNT ** torch.arange(outcome.reward.shape[1], device=outcome.reward.device).float()
        goes_on, beyond = going_on(outcome)
        reward = (outcome.reward.float() * discount * goes_on).sum(1) / discount.sum() / self.reward_scale
        success = first_success(outcome.success.float(), discount * goes_on)
        return self.reward_weight * reward + success + outcome.value[:, -1].float() * beyond


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
