"""Trains the video encoder of the metrics: ``python -m sfvgen_plan.metrics.train_encoder --data DIR --out DIR``.

Two lessons at once. A frame has to be found again among others, of other episodes and of its own, after it was shifted,
recoloured and blurred (van den Oord et al. 2018): its features tell what is where, not the noise of a decoder. And two
successive frames have to tell the action between them: a clip's features tell how things move.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from sfvgen_plan.arguments import non_negative_int, positive_int, run_script
from sfvgen_plan.console import Output
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.learning.trainer import StageSettings, fit
from sfvgen_plan.metrics.encoder import VideoEncoder, as_input

CLIP = 8
"""Successive frames in a sample."""

TEMPERATURE = 0.1
SHIFT = 0.03
"""Largest shift of a view, in sides of the frame: about the size of a decoder's errors, well below the objects'."""

COLOUR, NOISE = 0.1, 0.05
"""Standard deviations of a view's brightness and contrast, and of its pixel noise, in units of [-1, 1]."""

BLUR_SHARE = 0.5
"""Of the views lose their detail, as in a decoder."""


class EncoderStage:
    """What the training loop asks for: batches of clips.

    Raises:
        UserError: no episode is as long as a clip.
    """

    name = "encoder"

    def __init__(self, episodes: EpisodeArrays, encoder: VideoEncoder) -> None:
        self.episodes, self.objective = episodes, EncoderObjective(encoder)
        starts = [
            np.array([frame, action]) + np.arange(length - CLIP + 2)[:, None]
            for frame, action, length in zip(
                episodes.episode_start, episodes.action_start, episodes.lengths, strict=True
            )
            if length >= CLIP - 1
        ]
        if not starts:
            raise UserError(f"data has no episode of {CLIP - 1} decisions; collect longer ones with --decisions")
        self._starts = np.concatenate(starts)

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        """``frames`` (size, CLIP, H, W, 3) uint8 and ``actions`` (size, CLIP - 1, A)."""
        chosen = torch.randint(len(self._starts), (size,), generator=generator, device=generator.device)
        places = self._starts[chosen.cpu().numpy()]
        frames = np.stack([self.episodes.frames[frame : frame + CLIP] for frame, _ in places])
        actions = np.stack([self.episodes.actions[action : action + CLIP - 1] for _, action in places])
        return {
            name: torch.from_numpy(x).to(generator.device) for name, x in (("frames", frames), ("actions", actions))
        }


class EncoderObjective(nn.Module):
    """The two losses of an encoder."""

    def __init__(self, encoder: VideoEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor, actions: Tensor) -> dict[str, Tensor]:
        """Frames (B, T, H, W, 3) uint8, actions (B, T - 1, A) -> ``found``, of finding a frame again among all of the
        batch, in nats; ``told``, of telling actions, mean squared; and their sum ``loss``."""
        pictures = as_input(frames.flatten(0, 1))
        one, other = (self.encoder.encode(disturbed(pictures)) for _ in range(2))
        alike = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / TEMPERATURE
        own = torch.arange(len(alike), device=alike.device)
        found = (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2
        told = F.mse_loss(self.encoder(one.unflatten(0, frames.shape[:2])), actions)
        return {"loss": found + told, "found": found, "told": told}


def disturbed(pictures: Tensor) -> Tensor:
    """A view of every picture (B, 3, H, W), with its own shift, brightness, contrast, blur and noise."""
    count, size, device = len(pictures), pictures.shape[-1], pictures.device
    move = torch.eye(2, 3, device=device).repeat(count, 1, 1)
    move[:, :, 2] = 2 * SHIFT * (2 * torch.rand(count, 2, device=device) - 1)
    grid = F.affine_grid(move, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    small = F.interpolate(moved, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False)
    soft = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    moved = torch.where(torch.rand(count, 1, 1, 1, device=device) < BLUR_SHARE, soft, moved)
    contrast, brightness = COLOUR * torch.randn(2, count, 1, 1, 1, device=device)
    return moved * (1 + contrast) + brightness + NOISE * torch.randn_like(pictures)


def train(
    episodes: EpisodeArrays,
    steps: int,
    batch: int = 16,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> VideoEncoder:
    """An encoder trained on ``batch`` clips of the episodes in each step; the same arguments give the same weights on
    the same device. ``on_step`` is told every step and its losses.

    Raises:
        UserError: no episode is long enough.
    """
    torch.manual_seed(seed)
    stage = EncoderStage(episodes, VideoEncoder(action_dim=episodes.actions.shape[-1]).train())
    settings = StageSettings(steps, batch, 1e-3, warmup=max(1, min(200, steps // 10)))
    with tempfile.TemporaryDirectory() as folder:
        accelerator = Accelerator(cpu=device == "cpu")
        fit(stage, settings, accelerator, Path(folder), seed, log_every=1, on_step=on_step)
    return stage.objective.encoder.eval()


def run(args: argparse.Namespace) -> None:
    """Read, train and save."""
    out = Output.of(args)
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UserError(f"out={str(args.out)!r} is there already; choose another folder")
    out.note(f"reading {args.data}")
    episodes = load_episodes(args.data, limit_per_task=args.episodes)
    last = float("nan")
    with out.progress("training", total=args.steps) as bar:

        def on_step(step: int, losses: dict[str, float]) -> None:
            nonlocal last
            last = losses["loss"]
            bar.describe(f"training, loss {last:.3f}")
            bar.advance()

        encoder = train(episodes, args.steps, args.batch, args.seed, resolve_device(args.device), on_step)
    with atomic(args.out, "out") as staged:
        encoder.save_pretrained(staged)
    data = {"encoder": str(args.out), "digest": encoder.digest, "loss": last, "steps": args.steps}
    out.result(data, f"encoder {encoder.digest} written to {args.out}; last loss {last:.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sfvgen_plan.metrics.train_encoder", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--steps", type=positive_int, default=4000, help="optimiser steps (default: 4000)")
    parser.add_argument("--batch", type=positive_int, default=16, help="clips in a step (default: 16)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of weights and samples (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
