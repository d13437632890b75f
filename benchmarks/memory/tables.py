"""What the rows of the memory programs say: the paper's two tables, and those of the sweep."""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.simulators import ROWS, WITH, WITHOUT
from sfvgen_plan.benchmarks.memory.sweep_rows import STUDIES
from sfvgen_plan.benchmarks.report.markdown import markdown, span
from sfvgen_plan.benchmarks.statistics import Estimate, mean, paired_difference, wilson
from sfvgen_plan.metrics.frechet import frechet_distance

CONSISTENCY: Mapping[str, tuple[str, float, int]] = {
    "psnr_revisit_db": ("PSNR dB ↑", 1, 2),
    "cosine_revisit": ("cosine % ↑", 100, 2),
    "scene_cuts": ("SCuts ↓", 1, 2),
    "src": ("SRC ↑", 100, 2),
    "ssim_revisit": ("SSIM % ↑", 100, 2),
    "lpips_revisit": ("LPIPS % ↓", 100, 2),
}
"""Columns of the video consistency table: heading, factor, digits."""

DETAILS: Mapping[str, tuple[str, float, int]] = {
    "self_psnr_db": ("PSNR to itself dB ↑", 1, 2),
    "hand_error_cm": ("hand cm ↓", 1, 2),
    "object_error_cm": ("object cm ↓", 1, 2),
}
"""The same of the table below it."""

DISTANCES = {"frechet": "Fréchet distance ↓", "fvd": "FVD ↓"}
"""Of sets of videos."""

FeaturesOf = Callable[[str], Mapping[str, np.ndarray]]


def no_features(row: str) -> Mapping[str, np.ndarray]:
    """Where no videos are compared as sets."""
    return {}


class Table(NamedTuple):
    """For a terminal and for the README."""

    title: str
    header: tuple[str, ...]
    lines: list[tuple[str, ...]]


def memory_sections(folder: Path) -> list[str]:
    """The README's tables of those rows that are in the folder."""
    said = comparisons(folder)
    sections = [f"**Memory: {table.title}**\n\n" + markdown(table.header, table.lines) for table in tables(folder)]
    sections += ["\n".join(f"- {line}" for line in said)] if said else []
    for study in STUDIES.values():
        if (folder / study.file).exists():
            with (folder / study.file).open(newline="") as file:
                title, header, lines = study.table([study.row(**line) for line in csv.DictReader(file)])
            sections.append(f"**Memory: {title}**\n\n" + markdown(header, lines))
    return sections


def tables(folder: Path, features: FeaturesOf = no_features, parts: Sequence[str] = (REVISIT, RETURN)) -> list[Table]:
    """The paper's tables of those rows that are in the folder, with 95 % intervals over episodes."""
    made = []
    revisit, details, returned = _files(folder, parts)
    if revisit and details:
        lines = consistency(revisit, details, features)
        notes = [f"copying the last frame shown: {span(_over_all(details, 'copy_psnr_db'), 2)} dB"]
        cuts = _over_all(details, "true_scene_cuts")
        notes += [f"cuts found in the true videos: {span(cuts, 2)}"] if cuts else []
        made.append(_table(f"frames of places that were shown before ({'; '.join(notes)})", lines, CONSISTENCY))
        made.append(_table("the same videos, compared with themselves and with the true state", lines, DETAILS))
    if returned:
        cells: list[tuple[str, ...]] = [
            (line["row"], str(line["episodes"]), span(line["distance_m"], 3), span(line["success_5cm"], 0, 100))
            for line in distances(returned)
        ]
        agents = sorted({str(returned.settings(row).get("agent", "")) for row, _ in returned.rows} - {""})
        title = f"objects put back in the true simulator, agent {', '.join(agents)}"
        made.append(Table(title, ("row", "episodes", "distance m ↓", "within 5 cm % ↑"), cells))
    return made


def data(folder: Path, features: FeaturesOf, parts: Sequence[str]) -> dict[str, Any]:
    """The same for JSON."""
    revisit, details, returned = _files(folder, parts)
    lines = {
        "consistency": consistency(revisit, details, features) if revisit and details else [],
        "planning": distances(returned) if returned else [],
    }
    plain = {name: [{k: asdict(v) if isinstance(v, Estimate) else v for k, v in line.items()} for line in found]
             for name, found in lines.items()}  # fmt: skip
    return {"out": str(folder), **plain, "comparisons": comparisons(folder)}


def consistency(revisit: MemoryRows, details: MemoryRows, features: FeaturesOf) -> list[dict[str, Any]]:
    """A line for every row that has episodes: each column of ``CONSISTENCY`` and ``DETAILS`` as an ``Estimate``, and
    distances between the features of true and imagined videos."""
    lines = []
    for row in _named(revisit):
        line: dict[str, Any] = {"row": row, "episodes": len(revisit.values(row, "psnr_revisit_db"))}
        for column in [*CONSISTENCY, *DETAILS]:
            values = (revisit if column in revisit.columns else details).values(row, column)
            if values:
                line[column] = mean(list(values.values()))
        found = features(row)
        for name in DISTANCES:
            sets = [found[f"{name}_{which}"] for which in ("true", "imagined") if f"{name}_{which}" in found]
            if sets and all(len(part) > 1 for part in sets):
                line[name] = frechet_distance(*sets)
        lines.append(line)
    return lines


def distances(rows: MemoryRows) -> list[dict[str, Any]]:
    """A line for every row that has episodes of ``memory/return``."""
    return [
        {
            "row": row,
            "episodes": len(metres),
            "distance_m": mean(metres),
            "success_5cm": wilson(int(sum(rows.values(row, "success_5cm").values())), len(metres)),
        }
        for row in _named(rows)
        if (metres := list(rows.values(row, "distance_m").values()))
    ]


def comparisons(folder: Path) -> list[str]:
    """Sentences on what the memory brings, on the episodes that were measured with and without it."""
    said = []
    for name, column, text, factor, digits in (
        (REVISIT, "psnr_revisit_db", "dB of PSNR on frames of places that were shown before", 1, 2),
        (REVISIT, "cosine_revisit", "points of cosine there", 100, 2),
        (REVISIT, "scene_cuts", "scene cuts in a video", 1, 2),
        (RETURN, "distance_m", "metres from the objects' places", 1, 3),
    ):
        rows = _there(folder, name)
        own, base = ({} if rows is None else _keyed(rows, row, column) for row in (WITH, WITHOUT))
        if own.keys() & base.keys():
            difference = paired_difference(own, base)
            said.append(f"`{WITH}` against `{WITHOUT}`: {span(difference, digits, factor, '+')} {text}")
    return said


def _files(folder: Path, parts: Sequence[str]) -> list[MemoryRows | None]:
    """Those of revisits, of their details, and of returns."""
    owners = {REVISIT: REVISIT, VIDEO: REVISIT, RETURN: RETURN}
    return [_there(folder, name) if part in parts else None for name, part in owners.items()]


def _there(folder: Path, name: str) -> MemoryRows | None:
    return MemoryRows(folder, name) if (folder / f"{name}.csv").exists() else None


def _named(rows: MemoryRows) -> list[str]:
    """The ablation rows that have episodes, in the order of ``ROWS``."""
    found = dict.fromkeys(row for row, _ in rows.rows)
    return [*(row for row in ROWS if row in found), *(row for row in found if row not in ROWS)]


def _over_all(rows: MemoryRows, column: str) -> Estimate | None:
    """Mean over the episodes of any row: what doesn't depend on who imagined."""
    values = {episode: value for row in _named(rows) for episode, value in rows.values(row, column).items()}
    return mean(list(values.values())) if values else None


def _keyed(rows: MemoryRows, row: str, column: str) -> dict[tuple[str, Hashable], float]:
    return {("", episode): value for episode, value in rows.values(row, column).items()}


def _table(title: str, lines: Iterable[Mapping[str, Any]], columns: Mapping[str, tuple[str, float, int]]) -> Table:
    """Of those columns that have values; sets of videos are told in that of ``CONSISTENCY``."""
    lines = list(lines)
    shown = {name: spec for name, spec in columns.items() if any(name in line for line in lines)}
    sets = {name: text for name, text in DISTANCES.items() if columns is CONSISTENCY and any(name in x for x in lines)}
    cells = [
        (
            line["row"],
            str(line["episodes"]),
            *(span(line.get(name), digits, factor) for name, (_, factor, digits) in shown.items()),
            *(f"{line[name]:.2f}" if name in line else "" for name in sets),
        )
        for line in lines
    ]
    return Table(title, ("row", "episodes", *(spec[0] for spec in shown.values()), *sets.values()), cells)
