"""The few figures that a README begins with, derived from the committed rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfvgen_plan.benchmarks.fidelity import open_loop
from sfvgen_plan.benchmarks.memory.tables import estimates
from sfvgen_plan.benchmarks.report.markdown import markdown, percentage, readable, span
from sfvgen_plan.benchmarks.results.files import read_rows
from sfvgen_plan.benchmarks.results.reading import holds_episodes
from sfvgen_plan.benchmarks.results.row import EpisodeRow, settled
from sfvgen_plan.benchmarks.results.summary import Summary, grouped
from sfvgen_plan.benchmarks.speed.measurements import SpeedRow

AGENTS = ("default", "prior", "random")

SPEEDS = {
    "imagined_1024x3": "1,024 episodes imagined side by side, three denoising steps a decision",
    "vector_latent_1024": "the same as a Gymnasium vector environment, one step",
    "step_cpu_ms": "a step of `gym.make`",
}
"""Rows of ``speed.csv``."""

Line = tuple[str, str]


def headlines(folder: Path) -> str:
    """A markdown table of what a results folder has rows of.

    Raises:
        UserError: a file that can't be read.
    """
    lines = [*_success(folder), *_open_loop(folder), *_memory(folder), *_speed(folder)]
    return markdown(("what", "figure"), lines) if lines else "No results are committed yet."


def _success(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.csv")):
        if not holds_episodes(path):
            continue
        groups = grouped(settled(read_rows(path, EpisodeRow)), lambda row: row.agent)
        names = [name for base in AGENTS for name in groups if name.partition("+")[0] == base]  # whatever its settings
        own = [f"`{name}` {percentage(Summary(groups[name]).success_any)}" for name in names]
        if own:
            yield f"solved of `{path.stem}`, % [95 % interval]", ", ".join(own)


def _open_loop(folder: Path) -> Iterator[Line]:
    if rows := read_rows(folder / "open_loop.csv", open_loop.OpenLoopRow):
        found = open_loop.summarise(rows)
        db, hand = found["psnr_db"], found["hand_error_cm"]
        yield (
            f"{found['decision']} decisions imagined from one frame of a new scene",
            f"{db:.1f} dB, hand off by {hand:.1f} cm",
        )


def _memory(folder: Path) -> Iterator[Line]:
    for name, column, text, factor, digits in (
        ("revisit", "psnr_revisit_db", "places shown before, imagined again, dB of PSNR", 1, 1),
        ("cue", "success_5cm", "a colour needed forty decisions after it was shown, % right", 100, 0),
        ("return", "distance_m", "objects put back where they were, metres off", 1, 3),
    ):
        shown = [
            f"`{' '.join([line['row'], line.get('agent', '')]).strip()}` {span(line.get(column), digits, factor)}"
            for line in estimates(folder, name)
        ]
        if shown:
            yield text, ", ".join(shown)


def _speed(folder: Path) -> Iterator[Line]:
    found = {row.name: row for row in read_rows(folder / "speed.csv", SpeedRow)}
    for name, text in SPEEDS.items():
        if row := found.get(name):
            yield text, f"{readable(float(row.value))} {row.unit}, {row.device}"
