"""A stage before the denoiser, for recipes that have it: where actions take the robot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData, pick
from sfvgen_plan.learning.heads import augmented_pairs, unit_estimates
from sfvgen_plan.model.motion import Motion, followed

PLACE = 3
"""Of the read-outs, how many tell where the hand is; they come first."""


@dataclass(frozen=True)
class MotionSettings:
    """How the robot's motion is learnt.

    Attributes:
        decisions: followed from a frame.
        from_start: share of samples that follow an episode from its start, as imagined ones do; the others begin
            anywhere, as plans do.
        action_noise: standard deviation of the noise on actions, without which few episodes are soon known by heart.
        latent_noise: largest standard deviation of the noise on the latents of the first frames.
        place_weight: how much the hand's place counts beside another read-out.
    """

    decisions: int = 24
    from_start: float = 0.7
    action_noise: float = 0.03
    latent_noise: float = 0.2
    place_weight: float = 4.0


class MotionObjective(nn.Module):
    """Absolute error of the read-outs after every decision, in units of their spread: a robot that is stuck for once is
    far off, and must not outweigh all others."""

    weights: Tensor

    def __init__(self, motion: Motion, place_weight: float = 1.0) -> None:
        super().__init__()
        self.motion = motion
        motion.requires_grad_(True)
        weights = torch.ones(motion.readouts)
        weights[:PLACE] = place_weight
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, pairs: Tensor, text: Tensor, actions: Tensor, units: Tensor, real: Tensor) -> dict[str, Tensor]:
        """pairs (B, 2, C, h, w); text (B, E); actions (B, T, A); units (B, T + 1, D), of which the first belong to the
        pairs; real (B, T + 1) 0 after the end of an episode."""
        with torch.autocast(pairs.device.type, enabled=False):
            start = self.motion.start(pairs, text)
            tracks, _ = self.motion(start, actions)
        found = torch.cat([start[:, None], tracks], dim=1)[..., : units.shape[-1]]
        errors = (F.l1_loss(found, units, reduction="none") * self.weights).mean(2) * real
        return {"loss": errors.sum() / real.sum(), "start": errors[:, 0].mean()}


class MotionStage:
    """Trains ``motion`` on what executed actions led to."""

    name = "motion"

    def __init__(
        self, data: TrainingData, objective: MotionObjective, pooled: Tensor, settings: MotionSettings
    ) -> None:
        self.data, self.objective, self.pooled, self.settings = data, objective, pooled, settings
        self.units = unit_estimates(data, objective.motion)
        number = torch.arange(len(data.first), device=data.first.device)
        usable = ~data.held_out & (number < data.last)
        self.anywhere, self.starts = data.indices(usable), data.indices(usable & (number == data.first))

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        s, data = self.settings, self.data
        device = data.first.device
        early = torch.rand(size, generator=generator, device=device) < s.from_start
        first = torch.where(early, pick(self.starts, size, generator), pick(self.anywhere, size, generator))
        ahead = first[:, None] + torch.arange(s.decisions + 1, device=device)
        last = data.last[first][:, None]
        frames = torch.minimum(ahead, last)
        actions = data.action[frames[:, 1:]]
        noise = torch.randn(actions.shape, generator=generator, device=device)
        return {
            "pairs": augmented_pairs(data, first, 0.0, s.latent_noise, generator),
            "text": self.pooled[data.task[first]],
            "actions": actions + s.action_noise * noise,
            "units": self.units[frames],
            "real": (ahead <= last).float(),
        }


def check_robots_alone(width: int, readouts: Sequence[str]) -> None:
    """Refuse a network of this ``width`` for read-outs that an action says little of.

    Raises:
        UserError: some of them are not the robot's own.
    """
    others = [name for name in readouts if name.startswith(("object_", "goal_"))]
    if width and others:
        raise UserError(
            f"train.model.motion_width={width} follows the robot by its actions, which do not tell "
            f"{', '.join(others)}; give 0 for these tasks"
        )


@torch.no_grad()
def followed_episodes(motion: Motion, data: TrainingData, pooled: Tensor) -> Tensor:
    """(F, A + D) what the denoiser is told of every action of the data, each episode followed from its start."""
    assert data.latents is not None
    device = data.first.device
    starts = data.indices(torch.arange(len(data.first), device=device) == data.first)
    steps = torch.arange(1, int((data.last - data.first).max()) + 1, device=device)
    told = data.action.new_zeros(len(data.action), data.action.shape[1] + motion.readouts)
    for part in starts.split(1024):
        frames = part[:, None] + steps
        real = frames <= data.last[part][:, None]
        actions = data.action[torch.minimum(frames, data.last[part][:, None])]
        track = motion.start(data.latents[data.window(part, 2)].float(), pooled[data.task[part]])
        told[frames[real]] = followed(motion, track, actions)[0][real]
    return told
