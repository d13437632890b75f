"""The memory tables of the README, from the committed rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfvgen_plan.benchmarks.memory import cost as memory_cost
from sfvgen_plan.benchmarks.memory import drift as memory_drift
from sfvgen_plan.benchmarks.memory import settings as memory_settings
from sfvgen_plan.benchmarks.memory import tables as memory_tables
from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.tables import span
from sfvgen_plan.benchmarks.report.markdown import markdown

COST, DRIFT, SETTINGS = "memory_cost.csv", "memory_drift.csv", "memory_settings.csv"


def memory_sections(folder: Path) -> list[str]:
    """Those tables whose rows are in the results folder."""
    found = {name: MemoryRows(folder, name) for name in (REVISIT, RETURN, VIDEO) if (folder / f"{name}.csv").exists()}
    sections = []
    if REVISIT in found and VIDEO in found:
        sections.append(_consistency(found[REVISIT], found[VIDEO]))
    if RETURN in found:
        sections.append(_distances(found[RETURN]))
    if REVISIT in found and RETURN in found:
        sections.append("\n".join(f"- {line}" for line in memory_tables.verdicts(found[REVISIT], found[RETURN])))
    for name, section in ((SETTINGS, _settings), (DRIFT, _drift), (COST, _cost)):
        if (folder / name).exists():
            with (folder / name).open(newline="") as file:
                sections.append(section(list(csv.DictReader(file))))
    return [section for section in sections if section]


def _consistency(revisit: MemoryRows, details: MemoryRows) -> str:
    lines = memory_tables.consistency(revisit, details, lambda row: {})
    columns = {**memory_tables.CONSISTENCY, **memory_tables.DETAILS}
    columns = {name: spec for name, spec in columns.items() if any(name in line for line in lines)}
    cells = [
        (
            f"`{line['row']}`",
            str(line["episodes"]),
            *(span(line.get(name), factor, digits) for name, (_, factor, digits) in columns.items()),
        )
        for line in lines
    ]
    beside = memory_tables.references(details)
    title = "**Memory: frames of places that were shown before, `memory/revisit`** (95 % intervals over episodes"
    if "copy_psnr_db" in beside:
        title += f"; the last frame shown, kept up: {beside['copy_psnr_db'].mean:.2f} dB"
    if "true_scene_cuts" in beside:
        title += f"; cuts found in the true videos: {beside['true_scene_cuts'].mean:.2f}"
    return f"{title})\n\n" + markdown(("row", "episodes", *(spec[0] for spec in columns.values())), cells)


def _distances(rows: MemoryRows) -> str:
    cells = [
        (f"`{line['row']}`", str(line["episodes"]), span(line["distance_m"], 1, 3), span(line["success_5cm"], 100, 0))
        for line in memory_tables.distances(rows)
    ]
    agents = sorted({str(rows.settings(row).get("agent", "")) for row, _ in rows.rows} - {""})
    title = f"**Memory: objects put back, `memory/return`** (agent {', '.join(f'`{agent}`' for agent in agents)})"
    return f"{title}\n\n" + markdown(("row", "episodes", "distance m ↓", "within 5 cm %"), cells)


def _settings(records: Sequence[Mapping[str, str]]) -> str:
    rows = [memory_settings.Row(**record) for record in records]
    lines = []
    for checkpoint, steps in dict.fromkeys((row.checkpoint, row.sampler_steps) for row in rows):
        own = [row for row in rows if (row.checkpoint, row.sampler_steps) == (checkpoint, steps)]
        for line in memory_settings.summary(own):
            gain = line["gain_db"]
            lines.append(
                (
                    f"`{line['memory']}`",
                    checkpoint,
                    steps,
                    f"{line['psnr_revisit_db']:.2f}",
                    f"{gain['mean']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]",
                    f"{line['hand_error_cm']:.2f}",
                )
            )
    header = ("memory", "checkpoint", "sampler steps", "PSNR dB on revisits", "gain dB over none", "hand cm")
    return "**Memory: settings of fast learning**, on seeds outside of the protocol\n\n" + markdown(header, lines)


def _drift(records: Sequence[Mapping[str, str]]) -> str:
    lines = [
        (f"`{name}`", str(span.decision), str(episodes), *(f"{mean:.1f}" for mean in span[1:]))
        for name, episodes, span in memory_drift.summary([memory_drift.Row(**record) for record in records])
    ]
    header = ("row", "up to decision", "episodes", "PSNR dB", "PSNR dB, the last frame shown", "hand error cm")
    return "**Memory: drift of long imaginations**, means over the decisions before\n\n" + markdown(header, lines)


def _cost(records: Sequence[Mapping[str, str]]) -> str:
    rows = [memory_cost.Row(**record) for record in records]
    plain = {(row.steps, row.device): row for row in rows if row.memory == memory_cost.WITHOUT}
    lines = []
    for row in rows:
        base = plain.get((row.steps, row.device))
        more = [
            memory_cost.added(own, without) if base is not None and base is not row else ""
            for own, without in (
                (row.seconds, base.seconds if base else ""),
                (row.peak_mb, base.peak_mb if base else ""),
            )
        ]
        lines.append((row.steps, f"`{row.memory}`", row.seconds, row.peak_mb, *more, row.device))
    header = ("sampler steps", "memory", "seconds", "peak MB", "time added", "memory added", "device")
    return "**Memory: its cost**\n\n" + markdown(header, lines)
