"""Rows of the sweep, and the tables that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sfvgen_plan.benchmarks.memory.simulators import WITHOUT
from sfvgen_plan.benchmarks.report.markdown import span
from sfvgen_plan.benchmarks.statistics import paired_difference

SPAN = 100
"""Decisions that a row of drift is the mean of."""

Lines = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header and lines of a table."""


@dataclass(frozen=True)
class SettingsRow:
    """One episode imagined by one variant; numbers as in ``revisit.RevisitScores``."""

    checkpoint: str
    sampler_steps: str
    memory: str
    episode: str
    psnr_revisit_db: str
    self_psnr_db: str
    hand_error_cm: str


@dataclass(frozen=True)
class DriftRow:
    """Means over ``SPAN`` decisions of one episode, up to ``decision``; ``copy_psnr_db``: of the last frame shown."""

    row: str
    episode: str
    decision: str
    psnr_db: str
    copy_psnr_db: str
    hand_error_cm: str
    checkpoint: str


@dataclass(frozen=True)
class CostRow:
    """One variant: ``seconds`` of a video, and the most memory on a GPU while it is made, in 10**6 bytes."""

    steps: str
    memory: str
    seconds: str
    peak_mb: str
    device: str


def settings_table(rows: Sequence[SettingsRow]) -> Lines:
    """Means of every variant, and its gain over no memory on the same episodes; the best first."""

    def column(group: Sequence[SettingsRow], which: str) -> dict[tuple[str, Hashable], float]:
        return {("", row.episode): float(getattr(row, which)) for row in group}

    lines: list[tuple[str, ...]] = []
    for checkpoint, steps in dict.fromkeys((row.checkpoint, row.sampler_steps) for row in rows):
        own = [row for row in rows if (row.checkpoint, row.sampler_steps) == (checkpoint, steps)]
        base = column([row for row in own if row.memory == WITHOUT], "psnr_revisit_db")
        found = []
        for memory in dict.fromkeys(row.memory for row in own):
            group = [row for row in own if row.memory == memory]
            quality = column(group, "psnr_revisit_db")
            gain = paired_difference(quality, base) if quality.keys() & base.keys() else None
            text = span(gain, sign="+")
            means = (np.mean(list(column(group, name).values())) for name in ("psnr_revisit_db", "hand_error_cm"))
            psnr_db, hand = (f"{mean:.2f}" for mean in means)
            found.append((memory, checkpoint, steps, psnr_db, text, hand))
        lines += sorted(found, key=lambda line: -float(line[3]))
    header = ("memory", "checkpoint", "steps", "PSNR dB on revisits", "gain dB over none", "hand cm")
    return "settings of fast learning, on episodes that the tables don't use", header, lines


def drift_table(rows: Sequence[DriftRow]) -> Lines:
    """Means over episodes."""
    lines = []
    for row, last in dict.fromkeys((row.row, row.decision) for row in rows):
        part = [other for other in rows if (other.row, other.decision) == (row, last)]
        numbers = np.array([(other.psnr_db, other.copy_psnr_db, other.hand_error_cm) for other in part], float)
        lines.append((row, last, str(len(part)), *(f"{mean:.1f}" for mean in numbers.mean(0))))
    header = ("row", "up to decision", "episodes", "PSNR dB", "PSNR dB, the last frame shown", "hand error cm")
    return f"drift of long imaginations, means of {SPAN} decisions", header, lines


def cost_table(rows: Sequence[CostRow]) -> Lines:
    """With what each memory adds to the variant without one of the same steps and device."""
    plain = {(row.steps, row.device): row for row in rows if row.memory == WITHOUT}
    lines = []
    for row in rows:
        base = plain.get((row.steps, row.device), row)
        more = [_added(row.seconds, base.seconds), _added(row.peak_mb, base.peak_mb)] if base is not row else ["", ""]
        lines.append((row.memory, row.steps, row.seconds, row.peak_mb, *more, row.device))
    return "its cost", ("memory", "steps", "seconds", "peak MB", "time added", "memory added", "device"), lines


def _added(value: str, base: str) -> str:
    return f"{100 * (float(value) / float(base) - 1):+.1f} %" if value and base else ""


class Study(NamedTuple):
    """``group``: columns that name a variant, whose rows are replaced together."""

    row: type
    group: tuple[str, ...]
    table: Callable[[Sequence[Any]], Lines]
    file: str


STUDIES = {
    "settings": Study(SettingsRow, ("checkpoint", "sampler_steps", "memory"), settings_table, "memory_settings.csv"),
    "drift": Study(DriftRow, ("row",), drift_table, "memory_drift.csv"),
    "cost": Study(CostRow, ("steps", "memory", "device"), cost_table, "memory_cost.csv"),
}
