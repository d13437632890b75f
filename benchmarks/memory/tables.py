"""What the rows of the memory programs say, with 95 % intervals over episodes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sfvgen_plan.benchmarks.memory.cost import DECISIONS, FILE, CostRow
from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.subjects import NO_MEMORY, ROWS
from sfvgen_plan.benchmarks.report.markdown import markdown, span
from sfvgen_plan.benchmarks.results.files import read_measurements
from sfvgen_plan.benchmarks.statistics import mean, paired_difference, wilson

COLUMNS = {
    "psnr_revisit_db": ("PSNR dB ↑", 1, 2),
    "copy_psnr_db": ("of the last frame shown", 1, 2),
    "cosine_revisit": ("cosine % ↑", 100, 2),
    "scene_cuts": ("SCuts ↓", 1, 2),
    "src": ("SRC ↑", 100, 2),
    "ssim_revisit": ("SSIM % ↑", 100, 2),
    "lpips_revisit": ("LPIPS % ↓", 100, 2),
    "self_psnr_db": ("PSNR to itself dB ↑", 1, 2),
    "hand_error_cm": ("hand cm ↓", 1, 2),
    "object_error_cm": ("object cm ↓", 1, 2),
    "distance_m": ("distance m ↓", 1, 3),
    "success_5cm": ("within 5 cm % ↑", 100, 0),
}
"""Heading, factor, digits."""


class Table(NamedTuple):
    """For a terminal and for the README."""

    title: str
    header: tuple[str, ...]
    lines: list[tuple[str, ...]]


def memory_sections(folder: Path) -> list[str]:
    """The README's tables of those rows that are in the folder."""
    sections = [f"**Memory: {title}**\n\n" + markdown(header, lines) for title, header, lines in tables(folder)]
    said = comparisons(folder)
    return [*sections, "\n".join(f"- {line}" for line in said)] if said else sections


def tables(folder: Path) -> list[Table]:
    """Tables of the rows that are in the folder: revisits, returns, cost."""
    made = []
    for title, names in (
        ("frames of places that were shown before", (REVISIT, VIDEO)),
        ("objects put back", (RETURN,)),
    ):
        lines = list(_lines(folder, *names))
        shown = {name: spec for name, spec in COLUMNS.items() if any(name in line for line in lines)}
        cells = [
            [span(line.get(name), digits, factor) for name, (_, factor, digits) in shown.items()] for line in lines
        ]
        named = [(line["row"], str(line["episodes"]), *own) for line, own in zip(lines, cells, strict=True)]
        agents = ", ".join(sorted({line["agent"] for line in lines if "agent" in line}))
        header = ("row", "episodes", *(heading for heading, *_ in shown.values()))
        made.append(Table(f"{title} by agent {agents}" if agents else title, header, named))
    costs: list[tuple[str, ...]] = [
        (row.memory, row.steps, row.seconds, row.peak_mb, row.device) for row in _costs(folder)
    ]
    header = ("row", "steps", "seconds", "peak MB", "device")
    made.append(Table(f"cost of a video of {DECISIONS} decisions", header, costs))
    return [table for table in made if table.lines]


def data(folder: Path) -> dict[str, Any]:
    """The same for JSON."""

    def plain(line: dict[str, Any]) -> dict[str, Any]:
        return {key: asdict(value) if key in COLUMNS else value for key, value in line.items()}

    return {
        "out": str(folder),
        "revisit": [plain(line) for line in _lines(folder, REVISIT, VIDEO)],
        "return": [plain(line) for line in _lines(folder, RETURN)],
        "cost": [asdict(row) for row in _costs(folder)],
        "comparisons": comparisons(folder),
    }


def comparisons(folder: Path) -> list[str]:
    """Sentences on what each memory brings, on the episodes that were measured with and without it."""
    said = []
    for name, column, text, digits in (
        (REVISIT, "psnr_revisit_db", "dB of PSNR on frames of places that were shown before", 2),
        (RETURN, "distance_m", "metres from the objects' places", 3),
    ):
        rows = MemoryRows(folder, name)
        *values, base = (_keyed(rows, row, column) for row in ROWS)
        for row, own in zip(ROWS, values, strict=False):
            if own.keys() & base.keys():
                difference = span(paired_difference(own, base), digits, sign="+")
                said.append(f"`{row}` against `{NO_MEMORY}`: {difference} {text}")
    return said


def _lines(folder: Path, *names: str) -> Iterator[dict[str, Any]]:
    """What the files of these names say of each of ``ROWS``: an ``Estimate`` of every column that has values."""
    files = [MemoryRows(folder, name) for name in names]
    for row in ROWS:
        found = {name: list(file.values(row, name).values()) for file in files for name in file.columns[2:]}
        line = {
            name: wilson(int(sum(values)), len(values)) if name == "success_5cm" else mean(values)
            for name, values in found.items()
            if values and name in COLUMNS
        }
        if line:
            agent = {"agent": str(files[0].settings(row)["agent"])} if "agent" in files[0].settings(row) else {}
            yield {"row": row, "episodes": max(map(len, found.values())), **agent, **line}


def _costs(folder: Path) -> list[CostRow]:
    return [row for row in read_measurements(folder / FILE, CostRow) if row.memory in ROWS]


def _keyed(rows: MemoryRows, row: str, column: str) -> dict[tuple[str, Hashable], float]:
    return {("", episode): value for episode, value in rows.values(row, column).items()}
