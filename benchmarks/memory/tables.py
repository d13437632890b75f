"""What the rows of the memory programs say, with 95 % intervals over episodes."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sfvgen_plan.benchmarks.memory.parts import ABLATION, DECISIONS, NO_MEMORY, PARTS, ROWS, CostRow, rows_in
from sfvgen_plan.benchmarks.results.summary import grouped
from sfvgen_plan.benchmarks.statistics import mean, paired_difference, span, wilson

COLUMNS = {
    "psnr_db": ("PSNR dB ↑", 1, 2),
    "psnr_seen_db": ("of places that were shown", 1, 2),
    "psnr_begin_db": ("in the first hundred", 1, 2),
    "psnr_revisit_db": ("PSNR dB ↑", 1, 2),
    "cosine_revisit": ("cosine % ↑", 100, 2),
    "scene_cuts": ("SCuts ↓", 1, 2),
    "distance_m": ("distance m ↓", 1, 3),
    "success_5cm": ("within 5 cm % ↑", 100, 0),
}
"""Heading, factor, digits."""


TABLES = {
    "revisit": ("revisit", PARTS["revisit"].title, ROWS),
    "ablation": ("revisit", "the same, with parts of the method left out", ABLATION),
    **{part: (part, PARTS[part].title, ROWS) for part in ("drift", "return", "cue")},
}
"""The part that each is made of, its title and its rows."""


class Table(NamedTuple):
    """For a terminal and for the README."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]


def tables(folder: Path) -> list[Table]:
    """Tables of the rows that are in the folder: of the parts, and the cost."""
    made = []
    for part, title, among in TABLES.values():
        lines = list(estimates(folder, part, among))
        shown = {column: spec for column, spec in COLUMNS.items() if any(column in line for line in lines)}
        keys = [key for key in ("agent", "row", "episodes") if any(key in line for line in lines)]
        cells = [
            [str(line[key]) for key in keys]
            + [span(line.get(column), digits, factor) for column, (_, factor, digits) in shown.items()]
            for line in lines
        ]
        header = [*keys, *(heading for heading, *_ in shown.values())]
        made.append(Table(title, ["n" if name == "episodes" else name for name in header], cells))
    base = {(row.steps, row.device): row.seconds for row in _costs(folder) if row.memory == NO_MEMORY}
    costs = []
    for row in _costs(folder):
        without = base.get((row.steps, row.device))
        more = f"{100 * (row.seconds / without - 1):+.0f}" if without and row.memory != NO_MEMORY else ""
        peak = "" if row.peak_mb is None else f"{row.peak_mb:.0f}"
        costs.append(
            [row.memory, str(row.steps), f"{row.seconds:.4g}", more, f"{row.episode_mb:.3g}", peak, row.device]
        )
    header = ["row", "steps", "seconds", "more %", "MB an episode", "peak MB", "device"]
    made.append(Table(f"cost of a video of {DECISIONS} decisions", header, costs))
    return [table for table in made if table.lines]


def data(folder: Path) -> dict[str, Any]:
    def plain(line: dict[str, Any]) -> dict[str, Any]:
        return {key: asdict(value) if key in COLUMNS else value for key, value in line.items()}

    return {
        "out": str(folder),
        **{name: [plain(line) for line in estimates(folder, part, rows)] for name, (part, _, rows) in TABLES.items()},
        "cost": [asdict(row) for row in _costs(folder)],
        "comparisons": comparisons(folder),
    }


def comparisons(folder: Path) -> list[str]:
    """Sentences on what each memory brings, on the episodes that were measured with and without it."""
    said = []
    for name, part in PARTS.items():
        found = _grouped(folder, name)
        for row in found:
            kind, _, agent = row.partition(" ")
            own, base = (_column(found.get(of, []), part.column) for of in (row, f"{NO_MEMORY} {agent}".strip()))
            if kind != NO_MEMORY and own.keys() & base.keys():
                _, factor, digits = COLUMNS[part.column]
                difference = span(paired_difference(own, base), digits, factor, sign="+")
                said.append(f"`{row}` against `{NO_MEMORY}`: {difference} {part.difference.format(part.title)}")
    return said


def estimates(folder: Path, part: str, among: Sequence[str] = ROWS) -> Iterator[dict[str, Any]]:
    """What a part's file says of each row: an ``Estimate`` of every column that has values."""
    for row, own in _grouped(folder, part, among).items():
        kind, _, agent = row.partition(" ")
        line: dict[str, Any] = {"row": kind, "episodes": len(own)} | ({"agent": agent} if agent else {})
        for column in COLUMNS:
            if values := list(_column(own, column).values()):
                line[column] = wilson(int(sum(values)), len(values)) if column == "success_5cm" else mean(values)
        yield line


def _grouped(folder: Path, part: str, among: Sequence[str] = ROWS) -> dict[str, list[Any]]:
    """Rows of a part by their names, agent by agent in the order of ``among``."""
    groups = grouped(rows_in(folder, part), lambda row: row.row)
    split = {
        row: (row.partition(" ")[2], among.index(kind)) for row in groups if (kind := row.partition(" ")[0]) in among
    }
    return {row: groups[row] for row in sorted(split, key=lambda row: split[row])}


def _costs(folder: Path) -> list[CostRow]:
    return [row for row in rows_in(folder, "cost") if row.memory in ROWS]


def _column(rows: Sequence[Any], column: str) -> dict[tuple[str, Hashable], float]:
    """Episode -> value, of the rows that have one."""
    return {("", row.episode): value for row in rows if (value := getattr(row, column, None)) is not None}
