"""How fast is it here? ``python -m sfvgen_plan.benchmarks.speed`` measures and stores rows (``make bench``).

Each row says what was measured on which device and with which command; it replaces the row of the same name and device.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.benchmarks.throughput import EPISODES, episodes_per_minute
from sfvgen_plan.console import Output
from sfvgen_plan.devices import cpu_cores, device_name, resolve_device
from sfvgen_plan.errors import UserError, unknown_name

COMMAND = "python -m sfvgen_plan.benchmarks.speed"
COLUMNS = ("name", "device", "value", "unit", "command")
CHUNK = 8
"""Decisions imagined in one pass."""

MOST_SINGLES = 8
"""Single environments that are stepped in turn."""

ON_CHECKPOINT = ("imagine", "plan", "vector", "memory")
"""Measurements of a checkpoint in this process."""

EVAL = ("eval", "--task", "drawer-close-v3", "--episodes", "1")


@dataclass(frozen=True)
class Row:
    """One measured number."""

    name: str
    device: str
    value: str
    unit: str
    command: str


@dataclass(frozen=True)
class Finished:
    """What a program cost: wall seconds, and the largest resident memory of one of its processes in GB."""

    seconds: float
    gigabytes: float


Numbers = dict[str, tuple[float, str]]
"""Row name -> value and unit."""


def measure_help(args: argparse.Namespace) -> Numbers:
    """`sfvgen-plan --help`, median of three."""
    return {"help_seconds": (statistics.median(run_program(["--help"]).seconds for _ in range(3)), "s")}


def measure_eval(args: argparse.Namespace) -> Numbers:
    """One episode from the command line, imports included."""
    options = ["--checkpoint", args.checkpoint] if args.checkpoint else []
    options += ["--device", args.device] if args.device != "auto" else []
    with tempfile.TemporaryDirectory() as folder:
        finished = run_program([*EVAL, *options, "--out", str(Path(folder) / "run")])
    return {"eval_seconds": (finished.seconds, "s"), "eval_peak_memory": (finished.gigabytes, "GB")}


def measure_workers(args: argparse.Namespace) -> Numbers:
    """Episodes per minute with one and two processes, and on a Ray of its own."""
    options = ["--checkpoint", args.checkpoint] if args.checkpoint else []
    options += ["--device", args.device] if args.device != "auto" else []
    rates = episodes_per_minute(lambda given: run_program(given).seconds, args.agent, args.episodes, options)
    return {f"{args.agent}_{name}": (rate, "episodes/min") for name, rate in rates.items()}


def measure_rendering(args: argparse.Namespace) -> Numbers:
    """CPU time of a frame, ours and Gymnasium's."""
    from sfvgen_plan.benchmarks.rendering import measure

    results = measure()
    return {name: (value, "ratio" if name == "render_speedup" else "cpu_ms") for name, value in results.items()}


def measure_imagine(args: argparse.Namespace) -> Numbers:
    """Imagined decisions per second, reward included, in passes of ``CHUNK`` decisions."""
    import torch

    checkpoint = _checkpoint(args)
    gpu = checkpoint.pipeline.device.type == "cuda"
    batch = args.batch or (1024 if gpu else 16)
    if args.compile:
        checkpoint.pipeline.unet.compile(dynamic=False)
    simulator = checkpoint.simulator(args.sampler_steps)
    task = checkpoint.tasks[0]
    start = checkpoint.starts[task][:1].unsqueeze(1).expand(batch, -1, -1, -1, -1)
    state = simulator.begin_latents(start, [task] * batch, list(range(batch)))
    actions = torch.rand(batch, CHUNK, simulator.action_dim, device=simulator.device) * 2 - 1

    def imagine() -> None:
        nonlocal state
        state, outcome = simulator.imagine(state, actions)
        outcome.reward.cpu()  # waits for the device

    seconds = seconds_per_call(imagine, warm_up=3 if gpu else 1, at_least=args.seconds)
    name = "imagined_decisions_compiled" if args.compile else "imagined_decisions"
    return {name: (batch * CHUNK / seconds, "decisions/s")}


def measure_plan(args: argparse.Namespace) -> Numbers:
    """One plan of the default agent for one episode."""
    from sfvgen_plan.agents.registry import make_agent

    checkpoint = _checkpoint(args)
    agent: Any = make_agent("default", checkpoint, str(checkpoint.pipeline.device))
    task = checkpoint.tasks[0]
    frame = checkpoint.pipeline.decode(checkpoint.starts[task][:1])
    agent.reset([0], [task], [0])
    return {"plan_seconds": (seconds_per_call(lambda: agent.act([0], frame), 1, args.seconds), "s")}


def measure_vector(args: argparse.Namespace) -> Numbers:
    """The native vector environment beside Gymnasium's, which steps single ones in turn and so is no faster with more
    than ``MOST_SINGLES`` of them."""
    from sfvgen_plan.benchmarks.batching import sync_vector_rate, vector_rate

    checkpoint = _checkpoint(args)
    gpu = checkpoint.pipeline.device.type == "cuda"
    counts = [args.batch] if args.batch else [1, 8, 64, 256] if gpu else [1, 8]
    numbers: Numbers = {}
    for name, rate, measured in (
        ("vector_env", vector_rate, counts),
        ("sync_vector_env", sync_vector_rate, sorted({min(count, MOST_SINGLES) for count in counts})),
    ):
        for count in measured:
            per_second = rate(checkpoint, count, args.sampler_steps, _clock(args, gpu))
            numbers[f"{name}_{count}"] = (per_second, "decisions/s")
    return numbers


def measure_memory(args: argparse.Namespace) -> Numbers:
    """Imagine and learn a chunk of ``CHUNK`` decisions with a memory per episode, all in one batch; beside it a PEFT
    adapter for one episode at a time, whose seconds are multiplied by the episodes."""
    from sfvgen_plan.benchmarks.batching import memory_seconds

    checkpoint = _checkpoint(args)
    gpu = checkpoint.pipeline.device.type == "cuda"
    count = args.batch or (64 if gpu else 8)
    batched, alone, size = memory_seconds(checkpoint, count, CHUNK, args.sampler_steps, _clock(args, gpu))
    return {
        f"memory_chunk_{count}": (batched, "s"),
        f"memory_chunk_{count}_peft": (alone, "s"),
        f"memory_speedup_{count}": (alone / batched, "ratio"),
        "memory_per_episode": (size / 1e6, "MB"),
    }


MEASUREMENTS: Mapping[str, Callable[[argparse.Namespace], Numbers]] = {
    "help": measure_help,
    "eval": measure_eval,
    "workers": measure_workers,
    "rendering": measure_rendering,
    "imagine": measure_imagine,
    "plan": measure_plan,
    "vector": measure_vector,
    "memory": measure_memory,
}
"""In this order: programs are started while this process is still small, since Linux counts the memory of the process
that starts a program among the program's own peak."""


ONLY_BY_NAME = ("workers",)
"""They take minutes."""


def seconds_per_call(call: Callable[[], object], warm_up: int, at_least: float) -> float:
    """Mean wall time of ``call`` over at least three calls and so many seconds, after ``warm_up`` calls."""
    for _ in range(warm_up):
        call()
    calls, start = 0, time.perf_counter()
    while calls < 3 or time.perf_counter() - start < at_least:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def run_program(arguments: Sequence[str]) -> Finished:
    """Run ``sfvgen-plan`` in a process of its own.

    Raises:
        UserError: it failed.
    """
    # The console script where there is one: it is what users start.
    script = Path(sys.executable).with_name("sfvgen-plan")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "sfvgen_plan.cli"]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=output)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C must not leave it behind
            process.kill()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if process.returncode:
        line = said.splitlines()[-1] if said else "it said nothing"
        raise UserError(f"command {shlex.join(['sfvgen-plan', *arguments])!r} failed ({line}); mend that first")
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(seconds, usage.ru_maxrss * unit / 1e9)


def rows_of(name: str, numbers: Numbers, args: argparse.Namespace) -> list[Row]:
    """Rows for the numbers of the measurement ``name``."""
    options = ["--only", name]
    if name in ("eval", "workers", *ON_CHECKPOINT):
        options += ["--checkpoint", args.checkpoint] if args.checkpoint else []
        options += ["--device", args.device] if args.device != "auto" else []
    if name == "workers":
        options += ["--agent", args.agent, "--episodes", str(args.episodes)]
    if name == "imagine":
        options += ["--compile"] if args.compile else []
    if name in ON_CHECKPOINT and name != "plan":
        options += ["--batch", str(args.batch)] if args.batch else []
        options += ["--sampler-steps", str(args.sampler_steps)] if args.sampler_steps != 3 else []
    command = f"{COMMAND} {shlex.join(options)}"
    device = _device_of(name, args)
    return [Row(key, device, f"{value:.4g}", unit, command) for key, (value, unit) in numbers.items()]


def merge(path: Path, rows: Iterable[Row]) -> None:
    """Put rows into the file, in place of those of the same name and device.

    Raises:
        UserError: the file holds something else.
    """
    merge_measurements(path, Row, ("name", "device"), rows)


def run(args: argparse.Namespace) -> None:
    """Measure one thing after the other; each is stored as soon as it is known."""
    out = Output.of(args)
    for name in args.only:
        if name not in MEASUREMENTS:
            raise unknown_name("only", name, MEASUREMENTS)
    wanted = [name for name in MEASUREMENTS if name in args.only or not (args.only or name in ONLY_BY_NAME)]
    measured: list[Row] = []
    with out.progress("measuring", total=len(wanted)) as bar:
        for name in wanted:
            bar.describe(name)
            rows = rows_of(name, MEASUREMENTS[name](args), args)
            merge(args.out, rows)
            measured += rows
            bar.advance()
    lines = [f"{row.name:<28} {row.value:>9} {row.unit:<12} {row.device}" for row in measured]
    out.result([dict(zip(COLUMNS, astuple(row), strict=True)) for row in measured], "\n".join(lines))
    out.note(f"rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"some of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--agent", default="default", help="who plays for --only workers (default: %(default)s)")
    parser.add_argument("--episodes", type=positive_int, default=EPISODES, help="of each way (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/speed.csv"), metavar="FILE.csv")
    add_model_arguments(parser)
    parser.add_argument("--compile", action="store_true", help="imagine with torch.compile (a name of its own)")
    parser.add_argument("--batch", type=positive_int, help="imagined episodes (default: by measurement and device)")
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a pass (default: 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring, at least (default: 3)")
    return run_script(parser, run, arguments)


def _clock(args: argparse.Namespace, gpu: bool) -> Callable[[Callable[[], object]], float]:
    """Mean seconds of a call, by the options."""
    return lambda call: seconds_per_call(call, warm_up=3 if gpu else 1, at_least=args.seconds)


def _checkpoint(args: argparse.Namespace) -> Any:
    from sfvgen_plan.model.checkpoint import load_checkpoint

    return load_checkpoint(args.checkpoint, resolve_device(args.device))


def _device_of(name: str, args: argparse.Namespace) -> str:
    """What the measurement ran on. Looked up afterwards, because it imports torch or MuJoCo."""
    from sfvgen_plan.benchmarks.rendering import processor

    if name == "rendering":
        from sfvgen_plan.envs.rendering import gl_backend

        return f"{processor()}, {gl_backend()}"
    device = "cpu" if name == "help" else resolve_device(args.device)
    return f"{processor()}, {cpu_cores()} cores" if device == "cpu" else device_name(device)


if __name__ == "__main__":
    sys.exit(main())
