"""Stage 2, slow learning of Φ: masked conditional video diffusion on windows of latents (eq. 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.learning.trainer import training_precision
from sfvgen_plan.model import diffusion
from sfvgen_plan.model.unet import VideoUNet, short_attention


@dataclass(frozen=True)
class WindowSettings:
    """How training windows are drawn.

    Attributes:
        lengths: window lengths f_p + f_g, one drawn per step.
        context: the usual f_p; other values up to ``longest_context`` are drawn with probability ``vary``.
        unconditional: share of samples with f_p = 0 and no condition, as fast learning sees them (eq. 3).
        drop_text, drop_action: share of samples without that condition.
        drop_action_told: as ``drop_action``, of samples that are told of a sub-goal: video plans know no actions, and
            a sub-goal's text says what an expert does next. None: as the others.
        context_noise: largest standard deviation of the noise on clean frames: generated context is never exact.
        dream: share of steps whose context the model has made itself, once ``dream_from`` steps are done.
        log_mean, log_std: of ln sigma (EDM).
    """

    lengths: tuple[int, ...] = (3, 6, 10)
    context: int = 2
    longest_context: int = 4
    vary: float = 0.3
    unconditional: float = 0.1
    drop_text: float = 0.1
    drop_action: float = 0.05
    drop_action_told: float | None = None
    context_noise: float = 0.2
    dream: float = 0.3
    dream_from: int = 2000
    log_mean: float = 0.2
    log_std: float = 1.6


class DenoiserObjective(nn.Module):
    """Eq. 2: noise the new frames, keep the past frames clean, take the loss on the new frames only."""

    def __init__(self, unet: VideoUNet, scheduler: Any) -> None:
        super().__init__()
        self.unet = unet
        self.scheduler = scheduler

    def forward(
        self,
        latents: Tensor,
        context: Tensor,
        clean: Tensor,
        actions: Tensor,
        given: Tensor,
        text: Tensor,
        noise: Tensor,
        level: Tensor,
    ) -> dict[str, Tensor]:
        """latents, context, noise (B, T, C, h, w): the truth, what clean frames show, the noise; clean, given (B, T);
        actions (B, T, A); text (B, L, E); level (B,)."""
        noisy, timestep, target = diffusion.corrupt(self.scheduler, latents, noise, level)
        shown = torch.where(clean[..., None, None, None] > 0, context, noisy)
        with short_attention(latents.device):
            output = self.unet.denoise(shown, clean, actions, given, timestep, text).float()
        error = (output - target).square().mean((2, 3, 4)) * (1 - clean)
        return {"loss": error.sum() / (1 - clean).sum()}


class DenoiserStage:
    """Trains ``unet`` on windows of several lengths, with every split into past and new frames."""

    name = "denoiser"

    def __init__(
        self,
        data: TrainingData,
        objective: DenoiserObjective,
        text: Tensor,
        settings: WindowSettings,
        dream_steps: int = 1,
    ) -> None:
        assert data.latents is not None
        self.data, self.objective, self.text, self.settings = data, objective, text, settings
        self.dream_steps = dream_steps
        self.denoise: Callable[..., Tensor] = objective.unet.denoise
        self.newest = {
            length: data.indices(~data.held_out & (data.last >= data.first + length - 2)) for length in settings.lengths
        }
        for length, candidates in self.newest.items():
            if not len(candidates):
                raise UserError(
                    f"train.denoiser.windows.lengths={length} fits no episode: they need {length - 2} decisions; "
                    "give shorter windows or collect longer episodes"
                )

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        s, data = self.settings, self.data
        assert data.latents is not None
        device = data.latents.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device)

        # Python-level choices come from the seed alone, so that all processes build windows of one shape.
        host = torch.Generator().manual_seed(step)
        length = s.lengths[int(torch.randint(len(s.lengths), (1,), generator=host))]
        dreamt = step >= s.dream_from and float(torch.rand(1, generator=host)) < s.dream
        count = max(1, size * max(s.lengths) // length)  # the same number of frames at every length
        newest = pick(self.newest[length], count, generator)
        # A window may start one frame before the episode: the first frame stands still, as at every reset.
        newest = torch.maximum(newest, data.first[newest] + length - 2)
        window = data.window(newest, length)
        latents = data.latents[window].float()
        context = self._dream(newest, length) if dreamt else latents
        past = torch.full((count,), min(s.context, length - 1), device=device)
        longest = min(s.longest_context, length - 1)
        varied = (uniform(count) * longest).long() + 1
        past = torch.where(uniform(count) < s.vary, varied, past)
        return corrupted(
            s,
            self.objective.scheduler,
            latents,
            context,
            past,
            data.told_actions[window],
            self.text[data.task[newest]],
            data.told[newest],
            generator,
        )

    @torch.no_grad()
    def _dream(self, newest: Tensor, length: int) -> Tensor:
        """The window's frames (B, length, C, h, w), those that may be shown clean as the model makes them from the
        frames before them: what it will see of itself."""
        data, s = self.data, self.settings
        assert data.latents is not None
        new, shown = max(1, length - s.context), min(s.longest_context, length - 1)
        before = max(0, s.context + new - shown)
        window = data.window(newest, before + length)
        frames, actions, text = data.latents[window].float(), data.told_actions[window], self.text[data.task[newest]]
        first = before + shown - new
        part = slice(first - s.context, first + new)
        frames[:, first : first + new] = self._continued(frames[:, part], actions[:, part], text)
        return frames[:, before:]

    def _continued(self, frames: Tensor, actions: Tensor, text: Tensor) -> Tensor:
        """The frames after the first ``context`` ones, made by the model."""
        past = self.settings.context
        clean = torch.zeros(frames.shape[:2], device=frames.device)
        clean[:, :past] = 1

        def network(noisy: Tensor, timestep: Tensor) -> Tensor:
            window = torch.cat([frames[:, :past], noisy], dim=1)
            with training_precision(frames.device), short_attention(frames.device):
                return self.denoise(window, clean, actions, 1 - clean, timestep, text)[:, past:]

        noise = torch.randn_like(frames[:, past:])
        return diffusion.sample(self.objective.scheduler, network, noise, self.dream_steps)


def corrupted(
    settings: WindowSettings,
    scheduler: Any,
    latents: Tensor,
    context: Tensor,
    past: Tensor,
    actions: Tensor,
    text: Tensor,
    told: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The arguments of ``DenoiserObjective`` for windows of which the first ``past`` frames are clean.

    Args:
        latents, context: (B, T, C, h, w) the truth, and what clean frames show.
        past: (B,).
        actions: (B, T, A).
        text: (B, L, E).
        told: (B,) True where that is the text of a sub-goal.
        generator: decides what is dropped, and the noise.
    """
    count, device = len(latents), latents.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    free = uniform(count) < settings.unconditional
    past = torch.where(free, 0, past)
    clean = (torch.arange(latents.shape[1], device=device) < past[:, None]).float()
    dropped = torch.full((count,), settings.drop_action, device=device)
    if settings.drop_action_told is not None:
        dropped[told] = settings.drop_action_told
    given = (1 - clean) * ((~free) & (uniform(count) >= dropped)).float()[:, None]
    with_text = ((~free) & (uniform(count) >= settings.drop_text)).float()
    blur = settings.context_noise * uniform(count).view(-1, 1, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=generator, device=device)
    return {
        "latents": latents,
        "context": context + blur * torch.randn(latents.shape, generator=generator, device=device),
        "clean": clean,
        "actions": actions,
        "given": given,
        "text": text * with_text[:, None, None],
        "noise": noise,
        "level": diffusion.noise_level(
            scheduler, uniform(count).clamp(1e-6, 1 - 1e-6), settings.log_mean, settings.log_std
        ),
    }
