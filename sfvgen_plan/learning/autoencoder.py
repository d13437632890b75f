"""Stage 1: the frame autoencoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sfvgen_plan.learning.data import TrainingData, pick, spread
from sfvgen_plan.model.heads import Heads


class AutoencoderObjective(nn.Module):
    """Reconstruction, KL, and a read-out of the state that keeps small things (goal markers) in the latents.

    Args:
        foreground: extra weight of pixels that differ from the task's background, where little things are.
        large: weight of the error's fourth power: a marker of ten pixels that is missing weighs more than faint blur.
        readout: weight of the state read-out (unit-scale mean squared error).
        kl: weight of the KL divergence per latent number.
    """

    text: Tensor

    def __init__(
        self,
        vae: AutoencoderKL,
        heads: Heads,
        text: Tensor,
        foreground: float,
        large: float,
        readout: float,
        kl: float,
    ) -> None:
        super().__init__()
        self.vae, self.heads = vae, heads
        self.foreground, self.large, self.readout, self.kl = foreground, large, readout, kl
        self.register_buffer("text", text, persistent=False)
        for parameter in (*heads.pair.parameters(), *heads.pair_out.parameters()):
            parameter.requires_grad_(False)  # the value is learned later

    def forward(
        self, frames: Tensor, background: Tensor, estimates: Tensor, task: Tensor, eps: Tensor
    ) -> dict[str, Tensor]:
        """frames, background (B, 3, H, W) uint8; unit-scale estimates (B, D); eps: latent-shaped noise."""
        pixels = frames.float() / 127.5 - 1
        weight = 1 + self.foreground * ((pixels - (background.float() / 127.5 - 1)).abs().amax(1, keepdim=True) > 0.1)
        posterior = self.vae.encode(pixels, return_dict=False)[0]
        decoded = self.vae.decode(posterior.mean + posterior.std * eps, return_dict=False)[0].float()
        error = decoded - pixels
        reconstruction = (weight * (error.abs() + error.square() + self.large * error.pow(4))).mean()
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        # The text is left out: the state must be readable whatever the task.
        _, _, units = self.heads.read(posterior.mean, self.text[task])
        state = F.mse_loss(units.float(), estimates)
        mse = error.detach().square().mean() / 4
        return {
            "loss": reconstruction + self.kl * divergence + self.readout * state,
            "psnr": -10 * torch.log10(mse),
            "kl": divergence,
            "state": state,
        }


class AutoencoderStage:
    """Trains ``vae`` on single frames."""

    name = "autoencoder"

    def __init__(self, data: TrainingData, objective: AutoencoderObjective, latent_shape: tuple[int, ...]) -> None:
        self.data = data
        self.objective = objective
        self.latent_shape = latent_shape
        self.candidates = data.indices(~data.held_out)
        self.backgrounds = task_backgrounds(data)
        mean, std = estimate_scale(data)
        self.units = (data.estimates - mean) / std

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        index = pick(self.candidates, size, generator)
        task = self.data.task[index]
        return {
            "frames": self.data.frames[index].movedim(-1, 1),
            "background": self.backgrounds[task],
            "estimates": self.units[index],
            "task": task,
            "eps": torch.randn(size, *self.latent_shape, generator=generator, device=index.device),
        }


def estimate_scale(data: TrainingData) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of the state numbers over the training frames."""
    values = data.estimates[~data.held_out]
    return values.mean(0), values.std(0).clamp_min(1e-3)


def task_backgrounds(data: TrainingData, samples: int = 101) -> Tensor:
    """Median frame of every task, (tasks, 3, H, W) uint8."""
    medians = []
    for task in range(int(data.task.max()) + 1):
        chosen = spread(data.indices((data.task == task) & ~data.held_out), samples)
        medians.append(data.frames[chosen].movedim(-1, 1).float().median(0).values.to(torch.uint8))
    return torch.stack(medians)


@torch.no_grad()
def set_latent_scale(vae: AutoencoderKL, data: TrainingData, samples: int = 4096) -> None:
    """Store per-channel mean and standard deviation of the latents in the autoencoder's config."""
    chosen = spread(data.indices(~data.held_out), samples)
    parts = [
        vae.encode(part.movedim(-1, 1).to(vae.dtype) / 127.5 - 1, return_dict=False)[0].mode()
        for part in data.frames[chosen].split(256)
    ]
    latents = torch.cat(parts).float().movedim(1, -1).flatten(0, -2)
    vae.register_to_config(latents_mean=latents.mean(0).tolist(), latents_std=latents.std(0).clamp_min(1e-4).tolist())
