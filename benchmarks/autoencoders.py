"""Which picture size and latent shape keep small things visible?

Trains one candidate and measures it on held-out episodes:

    python -m sfvgen_plan.benchmarks.autoencoders --data DIR --candidate 128-f16-c16 --out FILE.csv
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import unknown_name
from sfvgen_plan.learning.autoencoder import AutoencoderObjective, AutoencoderStage, estimate_scale, set_latent_scale
from sfvgen_plan.learning.data import TrainingData, to_training_data
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage
from sfvgen_plan.learning.trainer import StageSettings, fit, training_precision
from sfvgen_plan.model.build import build_autoencoder
from sfvgen_plan.model.heads import Heads
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline

COLUMNS = (
    "candidate",
    "psnr_db",
    "goal_error_cm",
    "object_error_cm",
    "hand_error_cm",
    "parameters",
    "steps",
    "seconds",
    "device",
)


@dataclass(frozen=True)
class Candidate:
    """Picture size, autoencoder widths (one halving between two), latent channels."""

    size: int
    widths: tuple[int, ...]
    channels: int


CANDIDATES = {
    "64-f8-c16": Candidate(64, (32, 64, 96, 128), 16),
    "128-f16-c16": Candidate(128, (24, 48, 64, 96, 128), 16),
    "128-f16-c32": Candidate(128, (24, 48, 64, 96, 128), 32),
}


def measure(data: TrainingData, candidate: Candidate, steps: int, folder: Path, seed: int = 0) -> dict[str, float]:
    """Train the autoencoder, then fresh heads on its frozen latents; errors on held-out frames."""
    accelerator = Accelerator()
    torch.manual_seed(seed)
    tasks = int(data.task.max()) + 1
    if candidate.size != data.frames.shape[1]:
        data = replace(data, frames=_shrink(data.frames, candidate.size))
    vae = build_autoencoder(candidate.size, candidate.widths, candidate.channels).to(accelerator.device)
    mean, std = estimate_scale(data)
    shape = (
        candidate.channels,
        candidate.size >> (len(candidate.widths) - 1),
        candidate.size >> (len(candidate.widths) - 1),
    )

    def heads() -> Heads:
        return Heads(
            shape[0], shape[1], tasks, estimate_mean=tuple(mean.tolist()), estimate_std=tuple(std.tolist())
        ).to(accelerator.device)

    text = torch.eye(tasks, device=accelerator.device)
    objective = AutoencoderObjective(vae, heads(), text * 0, foreground=4.0, large=10.0, readout=0.5, kl=1e-4)
    fit(
        AutoencoderStage(data, objective, shape),
        StageSettings(steps, 128, 4e-4, weight_decay=0.0),
        accelerator,
        folder,
        seed,
    )
    set_latent_scale(vae, data)
    codec = _Codec(vae)
    with training_precision(accelerator.device):
        data.latents = torch.cat([codec.encode(part).half() for part in data.frames.split(4096)])
    readout = HeadsObjective(heads(), 0.8)
    fit(
        HeadsStage(data, readout, text, HeadSettings(imagined=0.0)),
        StageSettings(steps, 512, 1e-3),
        accelerator,
        folder,
        seed,
    )
    index = data.indices(data.held_out)
    with torch.no_grad(), training_precision(accelerator.device):
        latents = data.latents[index].float()
        units = torch.cat(
            [
                readout.heads.read(z, t)[2]
                for z, t in zip(latents.split(1024), text[data.task[index]].split(1024), strict=True)
            ]
        )
        shown = torch.as_tensor(codec.decode(latents))
    squared = (shown.float() - data.frames[index].cpu().float()).square().flatten(1).mean(1)
    gap = (units.float() * std + mean - data.estimates[index]) * 100
    marked = data.task[index] < 2  # reach and push, whose goal is a small marker, come first in the suite
    return {
        "psnr_db": float((10 * torch.log10(255**2 / squared)).mean()),
        "goal_error_cm": float(gap[marked][:, 7:10].norm(dim=1).mean()),
        "object_error_cm": float(gap[:, 4:7].norm(dim=1).mean()),
        "hand_error_cm": float(gap[:, 0:3].norm(dim=1).mean()),
        "parameters": sum(p.numel() for p in vae.parameters()),
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


def main() -> None:
    """Measure one candidate and append its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--candidate", required=True, help=", ".join(CANDIDATES))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/autoencoders"))
    args = parser.parse_args()
    if args.candidate not in CANDIDATES:
        raise unknown_name("candidate", args.candidate, CANDIDATES)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = to_training_data(load_episodes(args.data), device)
    started = time.monotonic()
    row = measure(data, CANDIDATES[args.candidate], args.steps, args.work / args.candidate)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    new = not args.out.exists()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        rounded = {k: round(v, 3) for k, v in row.items()}
        writer.writerow(
            {
                "candidate": args.candidate,
                **rounded,
                "steps": args.steps,
                "seconds": round(time.monotonic() - started),
                "device": name,
            }
        )


if __name__ == "__main__":
    main()
