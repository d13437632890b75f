"""Trains the video encoder of the metrics: ``python -m sfvgen_plan.metrics.train_encoder --data DIR --out DIR``.

Two lessons at once. A frame has to be found again among others, of other episodes and of its own, after it was shifted,
recoloured and blurred (van den Oord et al. 2018): its features tell what is where, not the noise of a decoder. And two
successive frames have to tell the action between them: a clip's features tell how things move.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_plan.arguments import add_output_arguments, exit_code, non_negative_int, positive_int
from sfvgen_plan.console import Output
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.encoder import VideoEncoder, as_input

PROGRAM = "python -m sfvgen_plan.metrics.train_encoder"
CLIP = 8
"""Successive frames in a sample."""

TEMPERATURE = 0.1
LEARNING_RATE = 1e-3
SHIFT = 0.03
"""Largest shift of a view, in sides of the frame: about the size of a decoder's errors, well below the objects'."""

COLOUR, NOISE = 0.1, 0.05
"""Standard deviations of a view's brightness and contrast, and of its pixel noise, in units of [-1, 1]."""

BLUR_SHARE = 0.5
"""Of the views lose their detail, as in a decoder."""


def train(
    episodes: EpisodeArrays,
    steps: int,
    batch: int = 16,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> VideoEncoder:
    """An encoder trained on clips of the episodes; the same arguments give the same weights on the same device.

    Args:
        episodes: all as long as a clip at least.
        steps, batch: optimiser steps, and clips in each.
        on_step: called with (step, loss).

    Raises:
        UserError: no episode is long enough.
    """
    starts = _clip_starts(episodes)
    torch.manual_seed(seed)
    encoder = VideoEncoder(action_dim=episodes.actions.shape[-1]).to(device).train()
    optimiser = torch.optim.AdamW(encoder.parameters(), LEARNING_RATE, weight_decay=0.01)
    warmup = max(1, min(200, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, warmup))
    generator = np.random.default_rng(seed)
    for step in range(1, steps + 1):
        frames, actions = _sample(episodes, starts[generator.integers(len(starts), size=batch)])
        loss = losses(encoder, frames.to(device), actions.to(device), generator).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))
    return encoder.eval()


def losses(encoder: VideoEncoder, frames: Tensor, actions: Tensor, generator: np.random.Generator) -> Tensor:
    """(2,): of finding a frame again among all frames of the batch, in nats, and of telling actions, mean squared.

    Args:
        frames: (B, T, H, W, 3) uint8.
        actions: (B, T - 1, A).
    """
    count, length = frames.shape[:2]
    pictures = as_input(frames.flatten(0, 1))
    one, other = (encoder.encode(disturbed(pictures, generator)) for _ in range(2))
    alike = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / TEMPERATURE
    own = torch.arange(len(alike), device=alike.device)
    found = (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own)) / 2
    told = F.mse_loss(encoder(one.unflatten(0, (count, length))), actions)
    return torch.stack([found, told])


def disturbed(pictures: Tensor, generator: np.random.Generator) -> Tensor:
    """A view of every picture (B, 3, H, W), with its own shift, brightness, contrast, blur and noise."""
    count, size = len(pictures), pictures.shape[-1]

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)).to(pictures)

    shift = 2 * SHIFT * (2 * torch.from_numpy(generator.random((count, 2), dtype=np.float32)).to(pictures) - 1)
    move = torch.eye(2, 3, device=pictures.device).repeat(count, 1, 1)
    move[:, :, 2] = shift
    grid = F.affine_grid(move, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    small = F.interpolate(moved, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False)
    soft = F.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    blurred = torch.from_numpy(generator.random(count) < BLUR_SHARE).to(pictures.device).view(-1, 1, 1, 1)
    moved = torch.where(blurred, soft, moved)
    return moved * (1 + COLOUR * draw(count, 1, 1, 1)) + COLOUR * draw(count, 1, 1, 1) + NOISE * draw(*pictures.shape)


def _clip_starts(episodes: EpisodeArrays) -> np.ndarray:
    """(S, 2): first frame and first decision of every clip."""
    starts = [
        np.stack([frame + np.arange(length - CLIP + 2), action + np.arange(length - CLIP + 2)], axis=1)
        for frame, action, length in zip(episodes.episode_start, episodes.action_start, episodes.lengths, strict=True)
        if length >= CLIP - 1
    ]
    if not starts:
        raise UserError(f"data has no episode of {CLIP - 1} decisions; collect longer ones with --decisions")
    return np.concatenate(starts)


def _sample(episodes: EpisodeArrays, starts: np.ndarray) -> tuple[Tensor, Tensor]:
    frames = np.stack([episodes.frames[frame : frame + CLIP] for frame, _ in starts])
    actions = np.stack([episodes.actions[action : action + CLIP - 1] for _, action in starts])
    return torch.from_numpy(frames), torch.from_numpy(actions)


def _rate(step: int, steps: int, warmup: int) -> float:
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def run(args: argparse.Namespace) -> None:
    """Read, train and save."""
    out = Output.of(args)
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UserError(f"out={str(args.out)!r} is there already; choose another folder")
    device = resolve_device(args.device)
    out.note(f"reading {args.data}")
    episodes = load_episodes(args.data, limit_per_task=args.episodes)
    last = float("nan")
    with out.progress("training", total=args.steps) as bar:

        def on_step(step: int, loss: float) -> None:
            nonlocal last
            last = loss
            bar.describe(f"training, loss {loss:.3f}")
            bar.advance()

        encoder = train(episodes, args.steps, args.batch, args.seed, device, on_step)
    encoder.save_pretrained(args.out)
    data = {"encoder": str(args.out), "digest": encoder.digest, "loss": last, "steps": args.steps}
    out.result(data, f"encoder {encoder.digest} written to {args.out}; last loss {last:.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--steps", type=positive_int, default=4000, help="optimiser steps (default: 4000)")
    parser.add_argument("--batch", type=positive_int, default=16, help="clips in a step (default: 16)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of weights and samples (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_output_arguments(parser)
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
