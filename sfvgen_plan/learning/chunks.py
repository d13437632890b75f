"""Slow learning of ModelScope's UNet: masked conditional video diffusion on windows of latents (the paper's eq. 2)."""

from typing import Any

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.learning.recipe import ChunkSettings
from sfvgen_plan.model.noise import corrupt
from sfvgen_plan.model.unet import VideoUNet


class ChunkObjective(nn.Module):
    """Noise the new frames, keep the past frames clean, take the loss on the new frames only."""

    def __init__(self, unet: VideoUNet, scheduler: Any) -> None:
        super().__init__()
        self.unet, self.scheduler = unet, scheduler

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        timestep: Tensor,
        clean: Tensor,
        actions: Tensor,
        given: Tensor,
        text: Tensor,
    ) -> dict[str, Tensor]:
        """latents, noise (B, T, C, h, w); timestep (B,); clean, given (B, T); actions (B, T, A); text (B, L, E)."""
        noisy, target = corrupt(self.scheduler, latents, noise, timestep)
        shown = torch.where(clean[..., None, None, None] > 0, latents, noisy)
        output = self.unet.denoise(shown, clean, actions, given, timestep, text).float()
        error = (output - target).square().mean((2, 3, 4)) * (1 - clean)
        return {"loss": error.sum() / (1 - clean).sum()}


class ChunkStage:
    """Trains ``objective.unet`` on windows of several lengths, with every split into past and new frames."""

    name = "video"

    def __init__(self, data: TrainingData, objective: ChunkObjective, text: Tensor, settings: ChunkSettings) -> None:
        """``text`` (texts, L, E): features of the data's texts, in the order that ``data.text`` counts in. Raises
        UserError: a window is longer than all episodes."""
        self.data, self.objective, self.text, self.settings = data, objective, text, settings
        number = torch.arange(len(data.task), device=data.task.device)
        self.starts = {n: data.indices(~data.held_out & (number + n - 1 <= data.last)) for n in settings.lengths}
        for length, starts in self.starts.items():
            if not len(starts):
                raise UserError(
                    f"train.video.chunks.lengths={length} fits no episode: they need {length - 1} decisions; "
                    "give shorter windows or collect longer episodes"
                )

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        s, data = self.settings, self.data
        assert data.latents is not None
        device = data.latents.device

        def uniform() -> Tensor:
            return torch.rand(size, generator=generator, device=device)

        # The length comes from the step alone, so that all processes build windows of one shape.
        drawn = torch.randint(len(s.lengths), (1,), generator=torch.Generator().manual_seed(step))
        length = s.lengths[int(drawn)]
        frame = torch.arange(length, device=device)
        window = pick(self.starts[length], size, generator)[:, None] + frame
        latents = data.latents[window].float()
        past = (uniform() * min(s.longest_context, length - 1)).long() + 1
        clean = (frame < past[:, None]).float()
        with_text = (uniform() >= s.drop_text).float()
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=generator, device=device),
            "timestep": (uniform() * self.objective.scheduler.config.num_train_timesteps).long(),
            "clean": clean,
            "actions": data.action[window],
            "given": (1 - clean) * (uniform() >= s.drop_action).float()[:, None],
            "text": self.text[data.text[window[:, -1]]] * with_text[:, None, None],
        }
