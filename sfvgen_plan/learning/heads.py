"""Stage 3: heads that read reward, success and state out of latents, and the value of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.model.heads import ActionPrior, Heads
from sfvgen_plan.model.motion import Motion


@dataclass(frozen=True)
class HeadSettings:
    """How heads are trained.

    Attributes:
        gamma: discount per decision of the value.
        expectile: above 0.5 the value leans to the better of the actions seen in a state (IQL, Kostrikov et al. 2022).
        success_share: progress = share * success + (1 - share) * reward / reward_scale.
        imagined: share of samples that are the model's own frames with the real frames' labels.
        latent_noise: largest standard deviation of noise on the latents.
    """

    gamma: float = 0.95
    expectile: float = 0.8
    success_share: float = 0.5
    imagined: float = 0.3
    latent_noise: float = 0.2


def augmented_pairs(
    data: TrainingData, newest: Tensor, imagined: float, latent_noise: float, generator: torch.Generator
) -> Tensor:
    """Frame pairs (B, 2, C, h, w) that end at ``newest`` (B,): real or imagined, with a little noise."""
    assert data.latents is not None
    window = data.window(newest, 2)
    pairs = data.latents[window].float()
    if data.imagined is not None:
        dreamt = torch.rand(len(newest), generator=generator, device=pairs.device) < imagined
        pairs = torch.where(dreamt.view(-1, 1, 1, 1, 1), data.imagined[window].float(), pairs)
    scale = latent_noise * torch.rand(len(newest), 1, 1, 1, 1, generator=generator, device=pairs.device)
    return pairs + scale * torch.randn(pairs.shape, generator=generator, device=pairs.device)


def unit_estimates(data: TrainingData, network: Heads | Motion) -> Tensor:
    """State numbers (F, D) of the data in the units that the network's config gives their read-outs."""
    config = network.config
    mean, std = data.estimates.new_tensor(config.estimate_mean), data.estimates.new_tensor(config.estimate_std)
    return (data.estimates - mean) / std


class HeadsObjective(nn.Module):
    """Reward and state by squared error, success by cross-entropy, value by expectile regression."""

    def __init__(self, heads: Heads, expectile: float) -> None:
        super().__init__()
        self.heads = heads
        self.expectile = expectile
        heads.requires_grad_(True)

    def forward(
        self,
        pairs: Tensor,
        text: Tensor,
        reward: Tensor,
        success: Tensor,
        labelled: Tensor,
        estimates: Tensor,
        target: Tensor,
    ) -> dict[str, Tensor]:
        """pairs (B, 2, C, h, w); text (B, E); reward in [0, 1], success, labelled, target (B,); estimates (B, D)."""
        predicted, logit, units = (x.float() for x in self.heads.read(pairs[:, 1], text))
        value = self.heads.value(pairs, text).float()
        weight = labelled / labelled.mean().clamp_min(1e-3)
        gap = target - value
        losses = {
            "reward": (weight * (predicted - reward).square()).mean(),
            "success": (weight * F.binary_cross_entropy_with_logits(logit, success, reduction="none")).mean(),
            "state": F.mse_loss(units, estimates),
            "value": (torch.where(gap > 0, self.expectile, 1 - self.expectile) * gap.square()).mean(),
        }
        loss = 10 * losses["reward"] + losses["success"] + losses["state"] + 10 * losses["value"]
        return {"loss": loss, **losses}


class HeadsStage:
    """Trains ``heads``. The value's target comes from the averaged weights, one decision ahead."""

    name = "heads"

    def __init__(self, data: TrainingData, objective: HeadsObjective, pooled: Tensor, settings: HeadSettings) -> None:
        self.data, self.objective, self.pooled, self.settings = data, objective, pooled, settings
        self.candidates = data.indices(~data.held_out)
        self.units = unit_estimates(data, objective.heads)
        self.reward = data.reward / objective.heads.config.reward_scale
        self.progress = settings.success_share * data.success + (1 - settings.success_share) * self.reward

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        s, data = self.settings, self.data
        index = pick(self.candidates, size, generator)
        text = self.pooled[data.task[index]]
        following = torch.minimum(index + 1, data.last[index])
        with torch.no_grad():
            ahead = augmented_pairs(data, following, s.imagined, 0.0, generator)
            teacher = cast(HeadsObjective, average).heads
            bootstrap = teacher.value(ahead, text).clamp(0, 1)
            # The last frame of an episode bootstraps from itself: nothing is known of what comes after.
            target = (1 - s.gamma) * self.progress[following] + s.gamma * bootstrap
        return {
            "pairs": augmented_pairs(data, index, s.imagined, s.latent_noise, generator),
            "text": text,
            "reward": self.reward[index],
            "success": data.success[index],
            "labelled": data.labelled[index].float(),
            "estimates": self.units[index],
            "target": target,
        }


class PriorObjective(nn.Module):
    """Behaviour cloning of the expert's actions by squared error."""

    def __init__(self, prior: ActionPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, pairs: Tensor, text: Tensor, expert: Tensor) -> dict[str, Tensor]:
        """pairs (B, 2, C, h, w); text (B, E); expert (B, A)."""
        return {"loss": F.mse_loss(self.prior(pairs, text).float(), expert)}


class PriorStage:
    """Trains a prior on the expert's actions in the frames of ``candidates``."""

    def __init__(
        self,
        name: str,
        data: TrainingData,
        objective: PriorObjective,
        pooled: Tensor,
        candidates: Tensor,
        settings: HeadSettings,
    ) -> None:
        self.name = name
        self.data, self.objective, self.pooled, self.settings = data, objective, pooled, settings
        self.candidates = candidates

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        index = pick(self.candidates, size, generator)
        return {
            "pairs": augmented_pairs(self.data, index, self.settings.imagined, self.settings.latent_noise, generator),
            "text": self.pooled[self.data.task[index]],
            "expert": self.data.expert[index],
        }
