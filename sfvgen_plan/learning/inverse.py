"""An optional stage after the priors: inverse dynamics, which turns an imagined video into actions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.learning.heads import HeadSettings, augmented_pairs
from sfvgen_plan.model.inverse import InverseDynamics


class InverseObjective(nn.Module):
    """Regression of the executed actions by squared error."""

    def __init__(self, inverse: InverseDynamics) -> None:
        super().__init__()
        self.inverse = inverse
        inverse.requires_grad_(True)

    def forward(self, pairs: Tensor, action: Tensor) -> dict[str, Tensor]:
        """pairs (B, 2, C, h, w); action (B, A), which led from the older frame to the newer."""
        return {"loss": F.mse_loss(self.inverse(pairs).float(), action)}


class InverseStage:
    """Trains ``inverse`` on what was executed, by whomever, between real frames and between the model's own."""

    name = "inverse"

    def __init__(self, data: TrainingData, objective: InverseObjective, settings: HeadSettings) -> None:
        self.data, self.objective, self.settings = data, objective, settings
        self.candidates = data.indices(data.labelled & ~data.held_out)

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        index = pick(self.candidates, size, generator)
        pairs = augmented_pairs(self.data, index, self.settings.imagined, self.settings.latent_noise, generator)
        return {"pairs": pairs, "action": self.data.action[index]}
