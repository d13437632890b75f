"""What does the memory cost? ``python -m sfvgen_plan.benchmarks.memory.cost`` measures generation with and without it.

A sample is a video of so many chunks, imagined from a start frame and learnt from after every chunk. Variants take
turns, so that other work on the machine slows all of them; the median counts. A row replaces that of the same steps,
memory and device.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.console import Output
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.rows import memory_of_row

if TYPE_CHECKING:
    import torch

    from sfvgen_plan.memory.learning import FastLearning
    from sfvgen_plan.model.checkpoint import Checkpoint

COMMAND = "python -m sfvgen_plan.benchmarks.memory.cost"
COLUMNS = ("steps", "memory", "seconds", "peak_mb", "device")
WITHOUT = "no_temp_lora"
MOST_REPEATS = 1000
WARM_UP = 2
"""Calls before anything counts: libraries choose their kernels, and what comes again is captured."""


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        steps: of the sampler.
        memory: a row of the ablation, with changed settings behind it.
        seconds: of one sample.
        peak_mb: of memory while it is made, in 10**6 bytes: what torch has allocated on a GPU, and what the process
            holds on a CPU, where that can be told (Linux).
        device: what it ran on.
    """

    steps: str
    memory: str
    seconds: str
    peak_mb: str
    device: str


def parse_memory(text: str) -> FastLearning | None:
    """The memory that an argument names: ``full``, or ``full,window=4,targets=up_blocks.*.to_q+up_blocks.*.to_v``.

    Raises:
        UserError: no such row or setting, or a value that does not fit.
    """
    name, *changes = text.split(",")
    memory = memory_of_row(name)
    if not changes:
        return memory
    if memory is None:
        raise UserError(f"memory={text!r}: {name} has no memory to change")
    converters: dict[str, Callable[[str], Any]] = {
        "rank": int,
        "alpha": float,
        "learning_rate": float,
        "steps": int,
        "targets": lambda value: tuple(value.split("+")),
        "rule": str,
        "window": int,
        "log_mean": float,
    }
    assert converters.keys() == {field.name for field in fields(memory)}
    values = {}
    for change in changes:
        key, _, value = change.partition("=")
        try:
            values[key] = converters[key](value)
        except (KeyError, ValueError) as error:
            raise UserError(
                f"memory={text!r}: {change!r} is no setting; give some of {', '.join(converters)}"
            ) from error
    return replace(memory, **values)


def sampler(
    checkpoint: Checkpoint, memory: FastLearning | None, steps: int, chunks: int, chunk: int, batch: int
) -> Any:
    """Function that makes one sample of ``batch`` videos and waits until it is there."""
    import torch

    simulator = checkpoint.simulator(steps, memory)
    task = checkpoint.tasks[0]
    start = checkpoint.starts[task][:1, None].expand(batch, -1, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(chunks, batch, chunk, simulator.action_dim, generator=generator).to(simulator.device) * 2 - 1

    def sample() -> None:
        state = simulator.begin_latents(start, [task] * batch, list(range(batch)))
        for decisions in actions:
            state, outcome = simulator.imagine(state, decisions)
            if memory is not None:
                state = simulator.remember(state)
        outcome.reward.cpu()
        if state.memory is not None:
            next(iter(state.memory.up.values())).cpu()

    return sample


def measure(
    samples: Sequence[Callable[[], None]], device: torch.device, seconds: float
) -> list[tuple[float, float | None]]:
    """(seconds of a call, its peak of memory in MB) of each function; they take turns for at least so many seconds."""
    peaks: list[float | None] = []
    first = held_mb(device)
    for sample in samples:
        before = held_mb(device)
        for _ in range(WARM_UP):
            sample()
        peak = peak_mb(sample, device)
        others = before - first  # what the variants before it hold on to
        peaks.append(None if peak is None else peak - others)
    times: list[list[float]] = [[] for _ in samples]
    begun = time.perf_counter()
    for turn in range(MOST_REPEATS):
        if turn >= 3 and time.perf_counter() - begun > seconds * len(samples):
            break
        for sample, own in zip(samples, times, strict=True):
            start = time.perf_counter()
            sample()
            own.append(time.perf_counter() - start)
    return [(statistics.median(own), peak) for own, peak in zip(times, peaks, strict=True)]


def held_mb(device: torch.device) -> float:
    """Memory on a GPU that is in use right now, such as the graphs of a variant; 0 on a CPU, where none is kept."""
    import torch

    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else 0.0


def peak_mb(call: Callable[[], None], device: torch.device) -> float | None:
    """Most memory in use during the call; None where it can't be told."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / 1e6
    # What earlier calls have left to the allocator would hide the difference.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    except OSError:
        return None
    call()
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(line for line in lines if line.startswith("VmHWM:"))
    return int(held.split()[1]) * 1024 / 1e6


def merge(path: Path, rows: Iterable[Row]) -> None:
    """Put rows into the file, in place of those of the same steps, memory and device.

    Raises:
        UserError: the file holds something else.
    """
    merge_measurements(path, Row, ("steps", "memory", "device"), rows)


def table(rows: Sequence[Row]) -> str:
    """Lines for people, with what each memory adds to the row without one of the same steps and device."""
    plain = {(row.steps, row.device): row for row in rows if row.memory == WITHOUT}
    lines = []
    for row in rows:
        base = plain.get((row.steps, row.device))
        line = f"{row.steps:>3} steps  {row.memory:<40} {row.seconds:>9} s  {row.peak_mb or '-':>9} MB  {row.device}"
        if base is not None and base is not row:
            line += f"  time {added(row.seconds, base.seconds)}, memory {added(row.peak_mb, base.peak_mb)}"
        lines.append(line)
    return "\n".join(lines)


def added(value: str, base: str) -> str:
    """What a value has more than another, in percent; "-" where one is not known."""
    return f"{100 * (float(value) / float(base) - 1):+.1f} %" if value and base else "-"


def run(args: argparse.Namespace) -> None:
    """Measure all variants of one number of steps together, store them, go on to the next."""
    from sfvgen_plan.benchmarks.speed.measurements import machine
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out = Output.of(args)
    names = list(dict.fromkeys([WITHOUT, *args.memory]))
    memories = [parse_memory(name) for name in names]
    device = resolve_device(args.device)
    called = machine(device)
    checkpoint = load_checkpoint(args.checkpoint, device)
    measured: list[Row] = []
    with out.progress("measuring", total=len(args.steps)) as bar:
        for steps in args.steps:
            samples = [sampler(checkpoint, memory, steps, args.chunks, args.chunk, args.batch) for memory in memories]
            results = measure(samples, checkpoint.pipeline.device, args.seconds)
            rows = [
                Row(str(steps), name, f"{seconds:.4g}", "" if peak is None else f"{peak:.0f}", called)
                for name, (seconds, peak) in zip(names, results, strict=True)
            ]
            merge(args.out, rows)
            measured += rows
            bar.advance()
    out.result([dict(zip(COLUMNS, astuple(row), strict=True)) for row in measured], table(measured))
    out.note(f"rows: {args.out}")


def add_memory_argument(parser: argparse.ArgumentParser) -> None:
    """``--memory``, whose values ``parse_memory`` reads."""
    parser.add_argument(
        "--memory",
        nargs="+",
        default=["full"],
        metavar="ROW[,key=value...]",
        help=f"rows of the ablation, settings changed; {WITHOUT} is always measured (default: full)",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n")[0])
    add_memory_argument(parser)
    parser.add_argument("--steps", type=positive_int, nargs="+", default=[3, 50], help="sampler steps (default: 3 50)")
    parser.add_argument("--chunks", type=positive_int, default=4, help="of a sample (default: 4)")
    parser.add_argument("--chunk", type=positive_int, default=8, help="decisions of a chunk (default: 8)")
    parser.add_argument("--batch", type=positive_int, default=1, help="videos of a sample (default: 1)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring each, at least (default: 10)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/memory_cost.csv"), metavar="FILE.csv")
    add_model_arguments(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
