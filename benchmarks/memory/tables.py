"""The paper's two tables, from the rows of ``sfvgen-plan bench memory``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvgen_plan.benchmarks.memory.rows import MemoryRows
from sfvgen_plan.benchmarks.statistics import Estimate, mean, paired_difference, wilson
from sfvgen_plan.memory.rows import ROWS
from sfvgen_plan.metrics.frechet import frechet_distance

if TYPE_CHECKING:
    from rich.table import Table

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

BASE = "no_temp_lora"
TARGET_PSNR_DB, TARGET_COSINE, TARGET_CUTS, TARGET_DISTANCE_M, TARGET_DISTANCE_SHARE = 3.0, 4.5, 0.2, 0.02, 0.25
"""Of the row "full": dB or points of cosine above ``BASE``, share of its scene cuts, metres, share of its metres."""

Numbers = dict[str, Any]


def consistency(
    revisit: MemoryRows, details: MemoryRows, features: Callable[[str], Mapping[str, np.ndarray]]
) -> list[Numbers]:
    """A line for every row that has episodes: each column of ``CONSISTENCY`` and ``DETAILS`` as an ``Estimate``, and
    the distances."""
    lines = []
    for row in ROWS:
        episodes = revisit.values(row, "psnr_revisit_db")
        if not episodes:
            continue
        line: Numbers = {"row": row, "episodes": len(episodes)}
        for column in [*CONSISTENCY, *DETAILS]:
            values = (revisit if column in revisit.columns else details).values(row, column)
            if values:
                line[column] = mean(list(values.values()))
        found = features(row)
        for name in DISTANCES:
            sets = [found.get(f"{name}_{which}") for which in ("true", "imagined")]
            if all(part is not None and len(part) > 1 for part in sets):
                line[name] = frechet_distance(*sets)  # type: ignore[arg-type]
        lines.append(line)
    return lines


def references(details: MemoryRows) -> Numbers:
    """What the numbers stand beside: PSNR of the last frame shown kept up, and cuts found in the true videos."""
    found: Numbers = {}
    for column in ("copy_psnr_db", "true_scene_cuts"):
        values = {episode: value for row in ROWS for episode, value in details.values(row, column).items()}
        if values:
            found[column] = mean(list(values.values()))
    return found


def distances(rows: MemoryRows) -> list[Numbers]:
    """A line for every row that has episodes of ``memory/return``."""
    lines = []
    for row in ROWS:
        metres = list(rows.values(row, "distance_m").values())
        if metres:
            solved = wilson(int(sum(rows.values(row, "success_5cm").values())), len(metres))
            lines.append({"row": row, "episodes": len(metres), "distance_m": mean(metres), "success_5cm": solved})
    return lines


def comparisons(rows: MemoryRows, column: str) -> dict[str, Estimate]:
    """Mean difference of each row to ``BASE`` on the episodes that both have."""
    base = _keyed(rows, BASE, column)
    found = {}
    for row in ROWS:
        own = _keyed(rows, row, column)
        if row != BASE and own.keys() & base.keys():
            found[row] = paired_difference(own, base)
    return found


def verdicts(revisit: MemoryRows, returned: MemoryRows) -> list[str]:
    """Sentences on what memory brings and whether targets are met; none where a row is missing."""
    said = []
    quality = comparisons(revisit, "psnr_revisit_db").get("full")
    alike = comparisons(revisit, "cosine_revisit").get("full")
    if quality is not None:
        met = quality.mean >= TARGET_PSNR_DB or (alike is not None and 100 * alike.mean >= TARGET_COSINE)
        text = f"full against {BASE} on revisited frames: {span(quality, 1, 2)} dB"
        text += f", {span(alike, 100, 2)} points of cosine" if alike is not None else ""
        said.append(f"{text} (target {TARGET_PSNR_DB:g} dB or {TARGET_COSINE:g} points): {_met(met)}")
    cuts = _means(revisit, "scene_cuts")
    if cuts is not None:
        text = f"scene cuts: {cuts[0]:.2f} with memory, {cuts[1]:.2f} without"
        verdict = _met(cuts[0] <= TARGET_CUTS * cuts[1]) if cuts[1] else "nothing to tell them apart by"
        said.append(f"{text} (target: a fifth): {verdict}")
    metres = _means(returned, "distance_m")
    if metres is not None:
        met = metres[0] <= min(TARGET_DISTANCE_M, TARGET_DISTANCE_SHARE * metres[1])
        text = f"distance: {metres[0]:.3f} m with memory, {metres[1]:.3f} m without"
        said.append(f"{text} (target {TARGET_DISTANCE_M:g} m and a quarter): {_met(met)}")
    return said


def consistency_table(lines: Sequence[Numbers], beside: Numbers) -> Table:
    """For a terminal."""
    columns = {name: spec for name, spec in CONSISTENCY.items() if any(name in line for line in lines)}
    sets = {name: heading for name, heading in DISTANCES.items() if any(name in line for line in lines)}
    table = _table("Video consistency, memory/revisit", [*(spec[0] for spec in columns.values()), *sets.values()])
    for line in lines:
        cells = [span(line.get(name), factor, digits) for name, (_, factor, digits) in columns.items()]
        cells += [f"{line[name]:.2f}" if name in line else "" for name in sets]
        table.add_row(line["row"], str(line["episodes"]), *cells)
    notes = []
    if "copy_psnr_db" in beside:
        notes.append(f"the last frame shown, kept up: {span(beside['copy_psnr_db'], 1, 2)} dB")
    if "true_scene_cuts" in beside:
        notes.append(f"cuts found in the true videos: {span(beside['true_scene_cuts'], 1, 2)}")
    table.caption = "95 % intervals over episodes; " + "; ".join(notes) if notes else None
    return table


def details_table(lines: Sequence[Numbers]) -> Table:
    """For a terminal: consistency with itself, and read-outs."""
    table = _table("The same videos", [heading for heading, _, _ in DETAILS.values()])
    for line in lines:
        cells = [span(line.get(name), factor, digits) for name, (_, factor, digits) in DETAILS.items()]
        table.add_row(line["row"], str(line["episodes"]), *cells)
    return table


def distance_table(lines: Sequence[Numbers]) -> Table:
    """For a terminal."""
    table = _table("Long-horizon planning, memory/return", ["Dist m ↓", "within 5 cm %"])
    for line in lines:
        cells = [span(line["distance_m"], 1, 3), span(line["success_5cm"], 100, 0)]
        table.add_row(line["row"], str(line["episodes"]), *cells)
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    table.add_column("row")
    for heading in ("episodes", *headings):
        table.add_column(heading, justify="right")
    return table


def _keyed(rows: MemoryRows, row: str, column: str) -> dict[tuple[str, Hashable], float]:
    return {("", episode): value for episode, value in rows.values(row, column).items()}


def _means(rows: MemoryRows, column: str) -> tuple[float, float] | None:
    """Of "full" and of ``BASE`` on the episodes that both have."""
    own, base = rows.values("full", column), rows.values(BASE, column)
    shared = sorted(own.keys() & base.keys())
    if not shared:
        return None
    return float(np.mean([own[e] for e in shared])), float(np.mean([base[e] for e in shared]))


def span(estimate: Estimate | None, factor: float, digits: int) -> str:
    """A mean and its interval, in units of 1 / ``factor``; empty for None."""
    if estimate is None:
        return ""
    middle, low, high = (f"{factor * value:.{digits}f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{middle} [{low}, {high}]"


def _met(met: bool) -> str:
    return "met" if met else "missed"
