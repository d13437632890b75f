"""Stage 1: the frame autoencoder."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sfvgen_plan.cameras import pictures
from sfvgen_plan.learning.data import TrainingData, pick, spread
from sfvgen_plan.learning.recipe import AutoencoderLoss
from sfvgen_plan.model.pipeline import apart, stacked


class Readout(nn.Module):
    """Unit-scale state numbers (B, D) out of latents (B, C, h, w). The video transformer has its own."""

    def __init__(self, shape: tuple[int, int, int], readouts: int, width: int = 48) -> None:
        super().__init__()
        channels, height, across = shape
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((channels, width, 1), (width, width, 1), (width, 2 * width, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.SiLU()]
        places = -(-height // 2) * -(-across // 2)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(2 * width * places, 4 * width), nn.SiLU(), nn.Linear(4 * width, readouts)
        )

    def forward(self, latents: Tensor) -> Tensor:
        numbers: Tensor = self.layers(latents)
        return numbers


class AutoencoderObjective(nn.Module):
    """Reconstruction, KL, and a read-out of the state that keeps small things (goal markers) in the latents."""

    def __init__(self, vae: AutoencoderKL, readout: Readout, weights: AutoencoderLoss) -> None:
        super().__init__()
        self.vae, self.readout, self.weights = vae, readout, weights

    def forward(self, frames: Tensor, background: Tensor, estimates: Tensor, eps: Tensor) -> dict[str, Tensor]:
        """frames, background (B, 3, H, W) uint8; unit-scale estimates (B, D); eps: latent-shaped noise."""
        weights, count = self.weights, pictures(*frames.shape[-2:])
        pixels = apart(frames, count).float() / 127.5 - 1
        differs = (pixels - (apart(background, count).float() / 127.5 - 1)).abs().amax(1, keepdim=True) > 0.1
        posterior = self.vae.encode(pixels, return_dict=False)[0]
        decoded = self.vae.decode(posterior.mean + posterior.std * apart(eps, count), return_dict=False)[0].float()
        error = decoded - pixels
        each = error.abs() + error.square() + weights.large * error.pow(4)
        reconstruction = ((1 + weights.foreground * differs) * each).mean()
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        gap = self.readout(stacked(posterior.mean, count)).float()[:, : estimates.shape[1]] - estimates
        state = gap.square().sum() / max(1, gap.numel())
        return {
            "loss": reconstruction + weights.kl * divergence + weights.readout * state,
            "psnr": -10 * torch.log10(error.detach().square().mean() / 4),
            "kl": divergence,
            "state": state,
        }


class AutoencoderStage:
    """Trains ``vae`` on single frames."""

    name = "autoencoder"

    def __init__(self, data: TrainingData, vae: AutoencoderKL, weights: AutoencoderLoss) -> None:
        self.data = data
        self.shape = latent_shape(vae, data)
        self.objective = AutoencoderObjective(vae, Readout(self.shape, max(1, data.estimates.shape[1])), weights)
        self.candidates = data.indices(~data.held_out)
        self.backgrounds = task_backgrounds(data)
        mean, std = estimate_scale(data)
        self.units = (data.estimates - mean) / std

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        index = pick(self.candidates, size, generator)
        return {
            "frames": self.data.frames[index].movedim(-1, 1),
            "background": self.backgrounds[self.data.task[index]],
            "estimates": self.units[index],
            "eps": torch.randn(size, *self.shape, generator=generator, device=index.device),
        }


def latent_shape(vae: AutoencoderKL, data: TrainingData) -> tuple[int, int, int]:
    """(C, h, w) of a frame's latents."""
    halved = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = data.frames.shape[1:3]
    return vae.config.latent_channels, height // halved, width // halved


def estimate_scale(data: TrainingData) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of the state numbers over the training frames."""
    values = data.estimates[~data.held_out]
    mean = values.mean(0)
    return mean, (values - mean).square().mean(0).sqrt().clamp_min(1e-3)


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
    frames = data.frames[chosen].movedim(-1, 1)
    parts = [
        vae.encode(part.to(vae.dtype) / 127.5 - 1, return_dict=False)[0].mode()
        for part in apart(frames, pictures(*frames.shape[-2:])).split(256)
    ]
    latents = torch.cat(parts).float().movedim(1, -1).flatten(0, -2)
    vae.register_to_config(latents_mean=latents.mean(0).tolist(), latents_std=latents.std(0).clamp_min(1e-4).tolist())
