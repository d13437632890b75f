"""What the worker process of RLBench costs, and what happens when it fails: ``python -m
sfvgen_plan.benchmarks.rlbench_faults``.

Plays against the stand-in in ``tests/fakes`` (so from a checkout), which can be told to crash, hang and abort. Measures
the time that a decision takes longer through environment and worker than in a direct call; plays with eight workers at
once; and injects faults into episodes of the evaluation, each of which has to come out as a row with an error, in time
and with no process left behind.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.agents.players.random import RandomAgent
from sfvgen_plan.arguments import add_output_arguments
from sfvgen_plan.benchmarks.protocols import Protocol, load_protocol
from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.benchmarks.running.runner import Contestant, evaluate, jobs_for
from sfvgen_plan.console import Output
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.process import WORKER, SimulatorError
from sfvgen_plan.envs.rlbench.settings import WorkerSettings
from sfvgen_plan.errors import UserError

FAKES = Path("tests/fakes")
OUT = Path("benchmarks/rows/rlbench_faults.csv")
MODULE = "sfvgen_plan.benchmarks.rlbench_faults"
ENV_ID = "sfvgen/ImpatientRLBench-v0"
MARKER = "SFVGEN_FAULTS_RUN"
TASK = "rlbench/reach_target"

IMPATIENT = WorkerSettings(start_seconds=10.0, launch_seconds=3.0, reset_seconds=1.0, step_seconds=0.5)
GRACE_SECONDS = 1.0
"""For ending the process and starting the one that a reset needs, on top of its time-out."""
START_SECONDS = 5.0
MOST_OVERHEAD = 0.001
"""Seconds per decision."""

FAULTS = tuple(
    (place, visit, fault)
    for fault in ("abort", "exit", "crash", "kill", "hang", "seize", "error")
    for place, visit in (("step", 1), ("step", 3), ("reset", 1), ("launch", 1))
    # An abort while it starts means that there is no display, which is bad input rather than a row.
    if (place, fault) not in {("launch", "abort"), ("launch", "exit")}
)

_DIRECT = """
import mmap, sys, time
sys.path.insert(0, {folder!r})
import numpy as np
import worker
mode, size, count = {mode!r}, {size}, {count}
simulation = worker.Simulation(mmap.mmap(-1, size * size * 3))
simulation.launch("reach_target", ["front"], size, mode, False, "OPENGL")
task = simulation._task
np.random.seed(0)
task.reset()
actions = np.array({actions!r})
seconds = []
for action in actions:
    start = time.perf_counter()
    task.step(action)
    seconds.append(time.perf_counter() - start)
print(sorted(seconds)[len(seconds) // 2])
"""


class ImpatientRLBenchEnv(RLBenchEnv):
    """``RLBenchEnv`` with short time-outs, whose errors tell how long the call took that failed."""

    def __init__(self, task: str, **arguments: Any) -> None:
        super().__init__(task, worker=IMPATIENT, **arguments)

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        """As in the base class."""
        with _timed_failure():
            return super().reset(**arguments)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """As in the base class."""
        with _timed_failure():
            return super().step(action)


# Named with its module in the protocol, so that worker processes of the evaluation register it, too.
if ENV_ID not in gym.registry:
    gym.register(ENV_ID, f"{MODULE}:ImpatientRLBenchEnv")


@dataclass(frozen=True)
class Row:
    """One thing that was tried.

    Attributes:
        test: overhead, workers or fault.
        case: what was done or injected.
        episodes, errors: played, and those whose row has an error.
        seconds: what it took: per decision, altogether, or the call that failed.
        limit_seconds: what it may take.
        orphans: processes left behind.
        error: the row's error.
        ok: whether all is as it should be.
    """

    test: str
    case: str
    episodes: int
    errors: int
    seconds: float
    limit_seconds: float
    orphans: int
    error: str
    ok: bool


def measure_overhead(count: int = 400) -> Iterator[Row]:
    """Median seconds per decision through environment and worker, beyond those of the same steps called directly."""
    for mode in ("delta", "joint_velocity"):
        env = RLBenchEnv(TASK, action_mode=mode, max_decisions=count + 1)
        assert env.action_space.shape is not None
        actions = np.random.default_rng(0).uniform(-0.3, 0.3, (count, *env.action_space.shape))
        actions[:, -1] = 1.0  # An open gripper: closing it takes steps of its own.
        env.reset(seed=0)
        seconds = []
        for action in actions:
            start = time.perf_counter()
            env.step(action)
            seconds.append(time.perf_counter() - start)
        commands = [env._mode.to_command(action, np.array([0.3, 0.0, 1.3])).numbers for action in actions]
        env.close()
        code = _DIRECT.format(folder=str(WORKER.parent), mode=mode, size=env.size, count=count, actions=commands)
        direct = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        more = statistics.median(seconds) - direct
        case = f"{mode}, 128x128 rgb, direct {direct * 1e3:.2f} ms"
        yield Row("overhead", case, 1, 0, round(more, 6), MOST_OVERHEAD, _orphans(), "", more <= MOST_OVERHEAD)


def play_side_by_side(workers: int = 8, episodes: int = 24) -> Row:
    """Episodes of the evaluation with many workers at once; none may fail."""
    protocol = _protocol(max_decisions=20)
    start = time.monotonic()
    rows = _play(protocol, episodes, workers)
    seconds, limit = time.monotonic() - start, 120.0
    errors = [row.error for row in rows if row.error]
    whole = len(rows) == episodes and not errors and seconds < limit
    case = f"{workers} workers on {os.cpu_count()} cores, {episodes} episodes of 20 decisions"
    orphans = _orphans()
    error = errors[0] if errors else ""
    return Row("workers", case, len(rows), len(errors), round(seconds, 2), limit, orphans, error, whole and not orphans)


def inject_faults(count: int, lanes: int = 2) -> Iterator[Row]:
    """``count`` episodes with a fault each, over all places and kinds, as the rows that they end in."""
    protocol = _protocol(max_decisions=6)
    for number, (place, visit, fault) in enumerate(FAULTS):
        episodes = count // len(FAULTS) + (number < count % len(FAULTS))
        with _variables(FAKE_RLBENCH_FAULTS=f"{place}:{visit}:{fault}"):
            rows = _play(protocol, episodes, lanes)
        orphans = _orphans()
        limit = _limit(place, fault)
        # Lost episodes would be missing here.
        for row in [*rows, *[None] * (episodes - len(rows))]:
            found = re.search(r"\[after ([\d.]+) s\]", row.error) if row else None
            seconds = float(found.group(1)) if found else float("nan")
            good = row is not None and bool(row.error) and seconds <= limit and not orphans
            error = row.error if row else "lost"
            yield Row("fault", f"{fault} in {place} {visit}", 1, int(bool(error)), seconds, limit, orphans, error, good)


def recover(episodes: int = 12) -> Row:
    """Every second process fails in its second episode; the episodes around it are whole."""
    protocol = _protocol(max_decisions=6)
    with _variables(FAKE_RLBENCH_FAULTS="step:9:abort"):
        rows = _play(protocol, episodes, 1)
    errors, orphans = sum(bool(row.error) for row in rows), _orphans()
    good = len(rows) == episodes and errors == episodes // 2 and not orphans
    error = next((row.error for row in rows if row.error), "")
    return Row("recovery", "abort in every second episode", len(rows), errors, 0.0, 0.0, orphans, error, good)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, write the rows; 1 when one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.rlbench_faults", description=__doc__)
    parser.add_argument("--fakes", type=Path, default=FAKES, help="folder of the stand-in (default %(default)s)")
    parser.add_argument("--faults", type=int, default=200, help="how many to inject (default %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE.csv", help="(default %(default)s)")
    add_output_arguments(parser)
    args = parser.parse_args(arguments)
    out = Output.of(args)
    if not (args.fakes / "rlbench").is_dir():
        parser.error(f"fakes={str(args.fakes)!r} has no stand-in for RLBench; run in a checkout")
    with _stand_in(args.fakes), out.progress("rows", total=args.faults + 4) as bar:
        rows = []
        for row in _all(args.faults):
            rows.append(row)
            bar.advance()
    write_text(args.out, csv_text([[field.name for field in fields(Row)], *map(astuple, rows)]))
    wrong = [row for row in rows if not row.ok]
    summary = [f"{row.test}: {row.case}: {row.seconds} s" for row in rows if row.test != "fault"]
    summary.append(f"{sum(row.test == 'fault' for row in rows)} faults, {len(wrong)} rows not as they should be")
    out.result({"rows": len(rows), "wrong": [dataclasses.asdict(row) for row in wrong]}, "\n".join(summary))
    return 1 if wrong else 0


def _all(faults: int) -> Iterator[Row]:
    yield from measure_overhead()
    yield play_side_by_side()
    yield from inject_faults(faults)
    yield recover()


def _play(protocol: Protocol, episodes: int, lanes: int) -> list[Any]:
    contestant = Contestant("random", agent=RandomAgent(7))
    try:
        return evaluate(protocol, jobs_for([TASK], range(episodes)), contestant, lanes)
    except UserError as error:  # Raised when the very first episode fails by what looks like bad input.
        raise RuntimeError(f"the stand-in was refused: {error}") from error


def _protocol(max_decisions: int) -> Protocol:
    return dataclasses.replace(
        load_protocol("rlbench-data"),
        env_id=f"{MODULE}:{ENV_ID}",
        tasks=(TASK,),
        max_decisions=max_decisions,
    )


def _limit(place: str, fault: str) -> float:
    """Seconds that the failing call may take, until its row can be written."""
    starting = 0.0 if place == "step" else START_SECONDS
    hung = {"step": IMPATIENT.step_seconds, "reset": IMPATIENT.reset_seconds, "launch": IMPATIENT.launch_seconds}[place]
    return starting + (hung if fault in ("hang", "seize") else 0.0) + GRACE_SECONDS


@contextmanager
def _timed_failure() -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    except SimulatorError as error:
        error.args = (f"{error} [after {time.perf_counter() - start:.3f} s]", *error.args[1:])
        raise


@contextmanager
def _stand_in(fakes: Path) -> Iterator[None]:
    """Workers started inside find the stand-in, and can be told from others by a variable."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "libcoppeliaSim.so").touch()
        with _variables(
            PYTHONPATH=str(fakes.resolve()),
            COPPELIASIM_ROOT=folder,
            LD_LIBRARY_PATH=folder,
            DISPLAY=":0",
            SFVGEN_RLBENCH_PYTHON=sys.executable,
            **{MARKER: uuid.uuid4().hex},
        ):
            yield


@contextmanager
def _variables(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _orphans() -> int:
    """Workers of this run that still live, a moment after their owners are done with them."""
    marker = f"{MARKER}={os.environ[MARKER]}".encode()
    left: list[str] = []
    for _ in range(20):
        left = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_worker(pid, marker)]
        if not left:
            break
        time.sleep(0.05)
    return len(left)


def _is_worker(pid: str, marker: bytes) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return str(WORKER).encode() in command and marker in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
