"""What the rows of the memory programs say, with 95 % intervals over episodes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from sfvgen_plan.benchmarks.memory.cost import DECISIONS, FILE, CostRow
from sfvgen_plan.benchmarks.memory.rows import CUE, DRIFT, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.subjects import ABLATION, NO_MEMORY, ROWS
from sfvgen_plan.benchmarks.report.markdown import markdown, span
from sfvgen_plan.benchmarks.results.files import read_measurements
from sfvgen_plan.benchmarks.statistics import mean, paired_difference, wilson

COLUMNS = {
    "psnr_db": ("PSNR dB ↑", 1, 2),
    "psnr_seen_db": ("of places that were shown", 1, 2),
    "psnr_begin_db": ("in the first hundred", 1, 2),
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
    """Tables of the rows that are in the folder: revisits, returns, cues, cost."""
    made = []
    for title, names, among in (
        ("frames of places that were shown before", (REVISIT, VIDEO), ROWS),
        ("the same, with parts of the method left out", (REVISIT, VIDEO), ABLATION),
        ("the last hundred of 1,000 imagined decisions", (DRIFT,), ROWS),
        ("objects put back", (RETURN,), ROWS),
        ("the block of the colour that was shown first", (CUE,), ROWS),
    ):
        lines = list(estimates(folder, *names, among=among))
        shown = {name: spec for name, spec in COLUMNS.items() if any(name in line for line in lines)}
        cells = [
            [span(line.get(name), digits, factor) for name, (_, factor, digits) in shown.items()] for line in lines
        ]
        keys = [key for key in ("agent", "row", "episodes") if any(key in line for line in lines)]
        named = [(*(str(line[key]) for key in keys), *own) for line, own in zip(lines, cells, strict=True)]
        made.append(Table(title, (*keys, *(heading for heading, *_ in shown.values())), named))
    base = {(row.steps, row.device): float(row.seconds) for row in _costs(folder) if row.memory == NO_MEMORY}
    costs: list[tuple[str, ...]] = []
    for row in _costs(folder):
        without = base.get((row.steps, row.device))
        more = f"{100 * (float(row.seconds) / without - 1):+.0f}" if without and row.memory != NO_MEMORY else ""
        costs.append((row.memory, row.steps, row.seconds, more, row.episode_mb, row.peak_mb, row.device))
    header = ("row", "steps", "seconds", "more %", "MB an episode", "peak MB", "device")
    made.append(Table(f"cost of a video of {DECISIONS} decisions", header, costs))
    return [table for table in made if table.lines]


def data(folder: Path) -> dict[str, Any]:
    """The same for JSON."""

    def plain(line: dict[str, Any]) -> dict[str, Any]:
        return {key: asdict(value) if key in COLUMNS else value for key, value in line.items()}

    return {
        "out": str(folder),
        "revisit": [plain(line) for line in estimates(folder, REVISIT, VIDEO)],
        "ablation": [plain(line) for line in estimates(folder, REVISIT, VIDEO, among=ABLATION)],
        "drift": [plain(line) for line in estimates(folder, DRIFT)],
        "return": [plain(line) for line in estimates(folder, RETURN)],
        "cue": [plain(line) for line in estimates(folder, CUE)],
        "cost": [asdict(row) for row in _costs(folder)],
        "comparisons": comparisons(folder),
    }


def comparisons(folder: Path) -> list[str]:
    """Sentences on what each memory brings, on the episodes that were measured with and without it."""
    said = []
    for name, column, text in (
        (REVISIT, "psnr_revisit_db", "dB of PSNR on frames of places that were shown before"),
        (DRIFT, "psnr_db", "dB of PSNR in the last hundred of 1,000 imagined decisions"),
        (RETURN, "distance_m", "metres from the objects' places"),
        (CUE, "success_5cm", "points of success in going to the block of the colour that was shown first"),
    ):
        rows = MemoryRows(folder, name)
        for row, kind, agent in _named([rows]):
            own, base = (_keyed(rows, of, column) for of in (row, " ".join([NO_MEMORY, agent]).strip()))
            if kind != NO_MEMORY and own.keys() & base.keys():
                _, factor, digits = COLUMNS[column]
                difference = span(paired_difference(own, base), digits, factor, sign="+")
                said.append(f"`{row}` against `{NO_MEMORY}`: {difference} {text}")
    return said


def estimates(folder: Path, *names: str, among: Sequence[str] = ROWS) -> Iterator[dict[str, Any]]:
    """What the files of these names say of each row: an ``Estimate`` of every column that has values."""
    files = [MemoryRows(folder, name) for name in names]
    for row, kind, agent in _named(files, among):
        found = {name: list(file.values(row, name).values()) for file in files for name in file.columns[2:]}
        line = {
            name: wilson(int(sum(values)), len(values)) if name == "success_5cm" else mean(values)
            for name, values in found.items()
            if values and name in COLUMNS
        }
        if line:
            named = {"row": kind, "episodes": max(map(len, found.values()))}
            yield named | ({"agent": agent} if agent else {}) | line


def _named(files: Sequence[MemoryRows], among: Sequence[str] = ROWS) -> list[tuple[str, str, str]]:
    """The rows of these files: names, which one of ``among`` they are of, and the agent that played, if any."""
    names = dict.fromkeys(row for file in files for row, _ in file.rows)
    split = [(name, *name.partition(" ")[::2]) for name in names]
    return sorted((of for of in split if of[1] in among), key=lambda of: (of[2], among.index(of[1])))


def _costs(folder: Path) -> list[CostRow]:
    return [row for row in read_measurements(folder / FILE, CostRow) if row.memory in ROWS]


def _keyed(rows: MemoryRows, row: str, column: str) -> dict[tuple[str, Hashable], float]:
    return {("", episode): value for episode, value in rows.values(row, column).items()}
