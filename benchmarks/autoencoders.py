"""Which picture size and latent shape keep small things visible?

Trains one candidate and measures it on held-out episodes:

    python -m sfvgen_plan.benchmarks.autoencoders --data DIR --candidate 128-f16-c16 --out FILE.csv
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import unknown_name
from sfvgen_plan.learning.autoencoder import AutoencoderObjective, AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.data import TrainingData, to_training_data
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage
from sfvgen_plan.learning.latents import encoded
from sfvgen_plan.learning.trainer import Stage, StageSettings, fit, training_precision
from sfvgen_plan.model.build import build_autoencoder
from sfvgen_plan.model.heads import Heads
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline

Train = Callable[[Stage, StageSettings], Any]


@dataclass(frozen=True)
class Row:
    """One candidate, as the CSV file has it: ``parameters`` of the autoencoder, ``seconds`` of all that was trained."""

    candidate: str
    psnr_db: str
    goal_error_cm: str
    object_error_cm: str
    hand_error_cm: str
    parameters: str
    steps: str
    seconds: str
    device: str


@dataclass(frozen=True)
class Candidate:
    """Picture size, autoencoder widths (one halving between two), latent channels."""

    size: int
    widths: tuple[int, ...]
    channels: int

    @property
    def latent_size(self) -> int:
        """Edge of the latents."""
        return self.size >> (len(self.widths) - 1)


CANDIDATES = {
    "64-f8-c16": Candidate(64, (32, 64, 96, 128), 16),
    "128-f16-c16": Candidate(128, (24, 48, 64, 96, 128), 16),
    "128-f16-c32": Candidate(128, (24, 48, 64, 96, 128), 32),
}


def measure(data: TrainingData, candidate: Candidate, steps: int, folder: Path, seed: int = 0) -> dict[str, float]:
    """Train the autoencoder, then fresh heads on its frozen latents; errors on held-out frames."""
    accelerator = Accelerator()
    torch.manual_seed(seed)
    if candidate.size != data.frames.shape[1]:
        data = replace(data, frames=_shrink(data.frames, candidate.size))
    train: Train = partial(fit, accelerator=accelerator, folder=folder, seed=seed)
    codec = _trained_codec(data, candidate, steps, train)
    data.latents = encoded(codec, data)
    heads = _trained_heads(data, candidate, steps, train)
    return {**_errors(data, codec, heads), "parameters": sum(p.numel() for p in codec.vae.parameters())}


def _trained_codec(data: TrainingData, candidate: Candidate, steps: int, train: Train) -> _Codec:
    device = data.frames.device
    vae = build_autoencoder(candidate.size, candidate.widths, candidate.channels).to(device)
    heads, text = _fresh_heads(data, candidate), torch.zeros_like(_texts(data))
    objective = AutoencoderObjective(vae, heads, text, foreground=4.0, large=10.0, readout=0.5, kl=1e-4)
    shape = (candidate.channels, candidate.latent_size, candidate.latent_size)
    train(AutoencoderStage(data, objective, shape), StageSettings(steps, 128, 4e-4, weight_decay=0.0))
    set_latent_scale(vae, data)
    return _Codec(vae)


def _trained_heads(data: TrainingData, candidate: Candidate, steps: int, train: Train) -> Heads:
    objective = HeadsObjective(_fresh_heads(data, candidate), 0.8)
    train(HeadsStage(data, objective, _texts(data), HeadSettings(imagined=0.0)), StageSettings(steps, 512, 1e-3))
    return objective.heads


def _fresh_heads(data: TrainingData, candidate: Candidate) -> Heads:
    mean, std = (tuple(values.tolist()) for values in estimate_scale(data))
    size, tasks = candidate.latent_size, len(_texts(data))
    heads = Heads(candidate.channels, size, tasks, estimate_mean=mean, estimate_std=std)
    return heads.to(data.frames.device)


def _texts(data: TrainingData) -> Tensor:
    """Stand-ins (tasks, tasks) for the features of the instructions."""
    return torch.eye(int(data.task.max()) + 1, device=data.task.device)


@torch.no_grad()
def _errors(data: TrainingData, codec: _Codec, heads: Heads) -> dict[str, float]:
    """Of pictures and of what is read out of them, in held-out episodes."""
    assert data.latents is not None
    index = data.indices(data.held_out)
    latents, text = data.latents[index].float(), _texts(data)[data.task[index]]
    with training_precision(latents.device):
        parts = zip(latents.split(1024), text.split(1024), strict=True)
        units = torch.cat([heads.read(z, t)[2] for z, t in parts])
        shown = torch.as_tensor(codec.decode(latents))
    squared = (shown.float() - data.frames[index].cpu().float()).square().flatten(1).mean(1)
    mean, std = estimate_scale(data)
    gap = (units.float() * std + mean - data.estimates[index]) * 100
    marked = data.task[index] < 2  # reach and push, whose goal is a small marker, come first in the suite
    return {
        "psnr_db": float((10 * torch.log10(255**2 / squared)).mean()),
        "goal_error_cm": float(gap[marked][:, 7:10].norm(dim=1).mean()),
        "object_error_cm": float(gap[:, 4:7].norm(dim=1).mean()),
        "hand_error_cm": float(gap[:, 0:3].norm(dim=1).mean()),
    }


class _Codec(SlowFastVGenPipeline):
    """The pipeline's encode and decode around an autoencoder alone."""

    def __init__(self, vae: torch.nn.Module) -> None:
        object.__setattr__(self, "vae", vae)


def _shrink(frames: Tensor, size: int) -> Tensor:
    pool = frames.shape[1] // size
    parts = [
        torch.nn.functional.avg_pool2d(p.movedim(-1, 1).float(), pool).round().to(torch.uint8).movedim(1, -1)
        for p in frames.split(1024)
    ]
    return torch.cat(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one candidate and put its row into the file."""
    program = "python -m sfvgen_plan.benchmarks.autoencoders"
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=program, description=__doc__, formatter_class=formatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--candidate", required=True, help=", ".join(CANDIDATES))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/autoencoders"))
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Measure, and replace the row of the same candidate, steps and device.

    Raises:
        UserError: an unknown candidate, or a file of something else.
    """
    if args.candidate not in CANDIDATES:
        raise unknown_name("candidate", args.candidate, CANDIDATES)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = to_training_data(load_episodes(args.data), device)
    started = time.monotonic()
    measured = measure(data, CANDIDATES[args.candidate], args.steps, args.work / args.candidate)
    row = Row(
        candidate=args.candidate,
        **{name: str(round(value, 3)) for name, value in measured.items()},
        steps=str(args.steps),
        seconds=str(round(time.monotonic() - started)),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    )
    merge_measurements(args.out, Row, ("candidate", "steps", "device"), [row])


if __name__ == "__main__":
    sys.exit(main())
