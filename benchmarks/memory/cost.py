"""What a memory costs: seconds and bytes of a video that is imagined from a start frame.

Subjects take turns, so that other work on the machine slows all of them; the median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sfvgen_plan.benchmarks.memory.subjects import Subject
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.benchmarks.speed.measurements import machine

FILE = "memory_cost.csv"
DECISIONS = 64
ROUNDS = 9


@dataclass(frozen=True)
class CostRow:
    """One subject: ``seconds`` of a video, and the most memory on a GPU while it is made, in 10**6 bytes; empty on a
    CPU, where that can't be told."""

    steps: str
    memory: str
    seconds: str
    peak_mb: str
    device: str


def costs(subjects: Sequence[Subject], folder: Path, sampler_steps: int) -> list[CostRow]:
    """Measure all subjects and store their rows, in place of earlier ones of the same name and device."""
    device = str(subjects[0].checkpoint.pipeline.device)
    videos = [_video(subject, sampler_steps) for subject in subjects]
    peaks = [_peak_mb(video, device) for video in videos]
    times = [[video() for video in videos] for _ in range(ROUNDS)]
    rows = [
        CostRow(str(sampler_steps), subject.row, f"{statistics.median(own):.4g}", peak, machine(device))
        for subject, peak, own in zip(subjects, peaks, zip(*times, strict=True), strict=True)
    ]
    merge_measurements(folder / FILE, CostRow, ("steps", "memory", "device"), rows)
    return rows


def _video(subject: Subject, sampler_steps: int) -> Callable[[], float]:
    """Function that makes one video and says how many seconds that took."""
    simulator = subject.simulator(sampler_steps)
    task, starts = next(iter(subject.checkpoint.starts.items()))
    state = simulator.begin_latents(starts[:1, None], [task], [0])
    actions = torch.rand(1, DECISIONS, simulator.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def make() -> float:
        start = time.perf_counter()
        simulator.imagine(state, actions)[0].latents.cpu()
        return time.perf_counter() - start

    return make


def _peak_mb(video: Callable[[], float], device: str) -> str:
    video()  # libraries choose their kernels
    if device == "cpu":
        return ""
    torch.cuda.reset_peak_memory_stats(device)
    video()
    return f"{torch.cuda.max_memory_allocated(device) / 1e6:.0f}"
