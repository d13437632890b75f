"""How long leaderboard and report take on a large store.

``python -m sfvgen_plan.benchmarks.scale --rows 1000000 --store /tmp/large.sqlite`` makes a store of invented episodes
where there is none yet, prints times in seconds and sizes in bytes as JSON, and stores rows as ``speed`` does.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.rendering import processor
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.speed import Row, merge
from sfvgen_plan.benchmarks.store import Run, Store
from sfvgen_plan.devices import cpu_cores

CHUNK = 50_000


def invented_rows(count: int, agents: int) -> Iterator[EpisodeRow]:
    """Rows of so many agents of different skill on all tasks of mt50, one in a hundred an error."""
    protocol = load_protocol("mt50")
    generator = random.Random(0)
    skill = {(agent, task): generator.random() for agent in range(agents) for task in protocol.tasks}
    rules = protocol.rules_hash
    made = seed = 0
    while True:
        for agent in range(agents):
            for task in protocol.tasks:
                if made == count:
                    return
                made += 1
                broken = generator.random() < 0.01
                solved = not broken and generator.random() < skill[agent, task]
                first = min(100, 3 + int(generator.expovariate(1 / 25))) if solved else None
                decisions = min(100, first + 5) if first else 100
                yield EpisodeRow(
                    protocol.id,
                    task,
                    f"agent {agent}",
                    seed,
                    solved,
                    solved and generator.random() < 0.9,
                    generator.uniform(0, 900),
                    decisions,
                    generator.uniform(0.1, 0.5) * (1 + agent % 7),
                    12 * decisions,
                    (agent % 9) * 200 * decisions,
                    "Boom: invented" if broken else "",
                    first,
                    "0123456789ab",
                    "invented device",
                    rules,
                    f"run-{agent}",
                )
        seed += 1


def make_store(path: Path, count: int, agents: int) -> float:
    """Write the store; returns the seconds that took."""
    begin = time.perf_counter()
    chunk: list[EpisodeRow] = []
    with Store(path, create=True) as store:
        store.extend(
            [], [Run(f"run-{n}", "mt50", f"agent {n}", "0123456789ab", {"settings": {}}) for n in range(agents)]
        )
        for row in invented_rows(count, agents):
            chunk.append(row)
            if len(chunk) == CHUNK:
                store.extend(chunk)
                chunk = []
        store.extend(chunk)
    return time.perf_counter() - begin


def seconds_of(*options: str) -> float:
    """Wall time of one ``sfvgen-plan leaderboard``, start of the program included."""
    command = [sys.executable, "-m", "sfvgen_plan.cli", "leaderboard", *options]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def rows_of(result: dict[str, float]) -> list[Row]:
    """What is kept of the numbers that ``main`` prints."""
    count = int(result["rows"])
    kept = [
        ("leaderboard", result["leaderboard_seconds"], "s"),
        ("report", result["report_seconds"], "s"),
        ("report_size", result["report_bytes"] / 1e6, "MB"),
    ]
    device, command = f"{processor()}, {cpu_cores()} cores", f"python -m sfvgen_plan.benchmarks.scale --rows {count}"
    return [Row(f"{name}_of_{count}_rows", device, f"{value:.4g}", unit, command) for name, value, unit in kept]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.scale", description="Time a large store.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--store", type=Path, default=Path("runs/scale.sqlite"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/speed.csv"), help="where rows are stored")
    args = parser.parse_args(arguments)
    result: dict[str, float] = {}
    if not args.store.exists():
        result["write_seconds"] = round(make_store(args.store, args.rows, args.agents), 2)
    with Store(args.store, writable=False, thorough=False) as store:
        result["rows"] = store.count()
    report = args.store.with_suffix(".html")
    result["leaderboard_seconds"] = round(seconds_of("--store", str(args.store)), 2)
    result["report_seconds"] = round(seconds_of("--store", str(args.store), "--html", str(report)), 2)
    result["report_bytes"] = report.stat().st_size
    result["store_bytes"] = args.store.stat().st_size
    merge(args.out, rows_of(result))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
