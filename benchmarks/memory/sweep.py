"""A memory's settings, its cost and its drift: ``python -m sfvgen_plan.benchmarks.memory.sweep STUDY``.

- ``settings``: frames of places seen again, on episodes that the tables don't use, so that settings may be chosen by
  them.
- ``cost``: seconds and bytes of a video that is imagined from a start frame and learnt from chunk by chunk. Variants
  take turns, so that other work on the machine slows all of them; the median counts.
- ``drift``: the path of ``memory/revisit`` ends where it began, so it can be followed again and again. The model sees
  the first way out, and imagines 1,000 decisions; every further round shows what the first one showed.

``key=value`` changes a setting of fast learning. Rows of the same variant are replaced.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfvgen_plan.arguments import add_model_arguments, add_overrides, non_negative_int, positive_int, run_script
from sfvgen_plan.benchmarks.memory import revisit
from sfvgen_plan.benchmarks.memory.simulators import WITH, WITHOUT, chunks, simulator_of
from sfvgen_plan.benchmarks.memory.sweep_rows import SPAN, STUDIES, CostRow, DriftRow, SettingsRow
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.benchmarks.speed.measurements import machine
from sfvgen_plan.console import Output, table
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.envs.rendering import gl_backend
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

FIRST_SEED = 1000
"""Beyond the episodes of the tables."""

CHUNKS = 4
"""Of a video whose cost is measured."""

Variants = Mapping[str, "LearnedSimulator"]
"""Simulators by their names in the rows."""


def settings(args: argparse.Namespace, checkpoint: Checkpoint, variants: Variants) -> Iterator[Any]:
    """Every variant imagines the same episodes."""
    from sfvgen_plan.metrics.toolbox import Toolbox

    episodes = _episodes(args, checkpoint)
    for name, simulator in variants.items():
        for episode, dream in zip(episodes, revisit.imagine(simulator, episodes), strict=True):
            found = revisit.score(episode, dream, Toolbox())
            numbers = (found.psnr_revisit_db, found.self_psnr_db, found.hand_error_cm)
            key = (checkpoint.hash, str(args.sampler_steps), name, str(episode.seed))
            yield SettingsRow(*key, *(f"{number:.5g}" for number in numbers))


def drift(args: argparse.Namespace, checkpoint: Checkpoint, variants: Variants) -> Iterator[Any]:
    """Every variant imagines the same long episodes."""
    episodes = [rounds(episode, args.decisions) for episode in _episodes(args, checkpoint)]
    for name, simulator in variants.items():
        for episode, dream in zip(episodes, revisit.imagine(simulator, episodes), strict=True):
            for last, *numbers in spans(episode, dream):
                quality, kept, hand = (f"{number:.4g}" for number in numbers)
                yield DriftRow(name, str(episode.seed), str(last), quality, kept, hand, checkpoint.hash)


def cost(args: argparse.Namespace, checkpoint: Checkpoint, variants: Variants) -> Iterator[Any]:
    """Every variant makes the same video."""
    device = checkpoint.pipeline.device
    videos = [_video(checkpoint, simulator) for simulator in variants.values()]
    for name, (seconds, peak) in zip(variants, in_turns(videos, device, args.seconds), strict=True):
        megabytes = "" if peak is None else f"{peak:.0f}"
        yield CostRow(str(args.sampler_steps), name, f"{seconds:.4g}", megabytes, machine(str(device)))


def _episodes(args: argparse.Namespace, checkpoint: Checkpoint) -> list[revisit.TrueEpisode]:
    env = revisit.revisit_env(checkpoint)
    try:
        away = revisit.away_of(revisit.CHUNK)
        return [revisit.true_episode(env, seed, away) for seed in range(args.seed, args.seed + args.episodes)]
    finally:
        env.close()


def rounds(episode: revisit.TrueEpisode, decisions: int) -> revisit.TrueEpisode:
    """The episode's path followed again and again, ``decisions`` decisions in all, with the frames that this shows."""
    times = -(-decisions // len(episode.actions))

    def again(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:1], *[values[1:]] * times])[: decisions + 1]

    actions = np.concatenate([episode.actions] * times)[:decisions]
    return replace(episode, frames=again(episode.frames), estimates=again(episode.estimates), actions=actions)


def spans(episode: revisit.TrueEpisode, dream: revisit.Dream, length: int = SPAN) -> Iterator[tuple[float, ...]]:
    """(last decision, PSNR, PSNR of the last frame shown, hand error in cm) of every span with imagined decisions."""
    first = episode.seen + 1
    truth = episode.frames[first:]
    measured = (
        psnr(dream.frames, truth),
        psnr(np.broadcast_to(episode.frames[episode.seen], truth.shape), truth),
        error_cm("hand", dream.estimates, episode.estimates[first:]),
    )
    for last in range(length, len(episode.frames), length):
        own = slice(max(0, last - length + 1 - first), max(0, last + 1 - first))
        if own.stop:
            yield last, *(float(values[own].mean()) for values in measured)


def _video(checkpoint: Checkpoint, simulator: LearnedSimulator) -> Callable[[], None]:
    """Function that makes one video and waits until it is there."""
    task = checkpoint.tasks[0]
    start = simulator.begin(checkpoint.pipeline.decode(checkpoint.starts[task][:1])[None], [task], [0])
    shape = (1, CHUNKS * revisit.CHUNK, simulator.action_dim)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def make() -> None:
        for outcome in chunks(simulator, start, actions, revisit.CHUNK):
            outcome.reward.cpu()
        if simulator.device.type == "cuda":
            torch.cuda.synchronize(simulator.device)  # what was learnt last

    return make


def in_turns(
    calls: Sequence[Callable[[], None]], device: torch.device, seconds: float
) -> list[tuple[float, float | None]]:
    """(median seconds of a call, its peak of memory in MB) of each; they take turns for at least so many seconds."""
    peaks, times = [], [[] for _ in calls]  # type: list[float | None], list[list[float]]
    for call in calls:
        for _ in range(2):  # libraries choose their kernels, and what comes again is captured
            call()
        peaks.append(peak_mb(call, device))
    begun = time.perf_counter()
    while len(times[0]) < 3 or time.perf_counter() - begun < seconds * len(calls):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    return [(statistics.median(own), peak) for own, peak in zip(times, peaks, strict=True)]


def peak_mb(call: Callable[[], None], device: torch.device) -> float | None:
    """Most memory that torch has allocated on a GPU during the call; None on a CPU, where that can't be told."""
    if device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device) / 1e6


MEASURES = {"settings": settings, "drift": drift, "cost": cost}


def run(args: argparse.Namespace) -> None:
    """Measure all variants, store their rows and show them."""
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out, study = Output.of(args), STUDIES[args.study]
    revisit.check_episodes(range(args.seed, args.seed + args.episodes))
    gl_backend()
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    variants = {}
    for row in dict.fromkeys([WITHOUT, *(args.row or [WITH])]):
        simulator = simulator_of(checkpoint, row, args.sampler_steps, args.overrides)
        variants[",".join([row, *(args.overrides if simulator.fast_learning else [])])] = simulator
    rows = []
    with out.progress("rows") as bar:
        for found in MEASURES[args.study](args, checkpoint, variants):
            rows.append(found)
            bar.advance()

    def group(row: Any) -> tuple[str, ...]:
        return tuple(getattr(row, name) for name in study.group)

    new = {group(row) for row in rows}
    columns = [field.name for field in fields(study.row)]
    path = args.out or Path("benchmarks/rows") / study.file
    merge_measurements(path, study.row, columns, rows, lambda row: group(row) not in new)
    out.result([vars(row) for row in rows], table(*study.table(rows)))
    out.note(f"rows: {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.memory.sweep"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", choices=STUDIES, help="what to measure")
    parser.add_argument(
        "--row", action="append", metavar="NAME", help=f"of the ablation, beside {WITHOUT} (default: {WITH})"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a chunk (default: 3)")
    parser.add_argument("--episodes", type=positive_int, default=16, help="side by side (default: 16)")
    parser.add_argument("--seed", type=non_negative_int, default=FIRST_SEED, help="of the first (default: %(default)s)")
    parser.add_argument("--decisions", type=positive_int, default=1000, help="of an episode of drift (default: 1000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring a cost, at least (default: 10)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="(default: the study's in benchmarks/rows)")
    add_model_arguments(parser, "the memory tasks")
    add_overrides(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
