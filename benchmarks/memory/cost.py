"""What a memory costs: seconds and bytes of a video that is imagined from a start frame.

Subjects take turns, so that other work on the machine slows all of them; the median counts. Who has no memory has no
memory layers either.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sfvgen_plan.benchmarks.memory.parts import CostRow, Subject, rows_in
from sfvgen_plan.benchmarks.speed.measurements import machine
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.replay import PATIENCE

DECISIONS = 32
STEPS = (3, 50)
ROUNDS = 5


def costs(subjects: Sequence[Subject], folder: Path) -> list[CostRow]:
    """Measure all subjects and store their rows, in place of earlier ones of the same name and device."""
    device, rows = str(subjects[0].checkpoint.pipeline.device), []
    for steps in STEPS:
        videos = [_video(subject, steps) for subject in subjects]
        kept = [(episode, _peak_mb(video, device)) for video, episode in videos]
        times = [[video() for video, _ in videos] for _ in range(ROUNDS)]
        for subject, sizes, own in zip(subjects, kept, zip(*times, strict=True), strict=True):
            rows.append(CostRow(steps, subject.row, statistics.median(own), *sizes, machine(device)))
    rows_in(folder, "cost").add(*rows)
    return rows


def _video(subject: Subject, sampler_steps: int) -> tuple[Callable[[], float], float]:
    """Function that makes one video and says how many seconds that took, and the 10**6 bytes of an episode's memory."""
    checkpoint = subject.checkpoint if subject.remembers else _without_memory(subject.checkpoint)
    simulator = checkpoint.simulator(sampler_steps, compiled=True)
    task, starts = next(iter(subject.checkpoint.starts.items()))
    state = simulator.begin_latents(starts[:1, None].to(simulator.device), [task], [0])
    actions = torch.rand(1, DECISIONS, simulator.action_dim, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept = sum(part.nbytes for part in state.memory.tensors().values()) if state.memory is not None else 0
    if simulator.device.type == "cuda":
        for _ in range(PATIENCE + 1):  # until it is captured
            simulator.imagine(state, actions[:, :1])

    def make() -> float:
        start = time.perf_counter()
        simulator.imagine(state, actions)[0].latents.cpu()
        return time.perf_counter() - start

    return make, kept / 1e6


def _without_memory(checkpoint: Checkpoint) -> Checkpoint:
    """The same with a new network of its sizes that has no memory layers: what it costs, not what it makes."""
    network = checkpoint.pipeline.transformer
    plain = type(network).from_config({**network.config, "memory_blocks": (), "memory_beginning": ()})
    pipeline = copy.copy(checkpoint.pipeline)
    pipeline.register_modules(transformer=plain.to(network.embed.weight.device).eval())
    return replace(checkpoint, pipeline=pipeline)


def _peak_mb(video: Callable[[], float], device: str) -> float | None:
    video()  # libraries choose their kernels
    if device == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    video()
    return torch.cuda.max_memory_allocated(device) / 1e6
