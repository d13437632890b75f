"""The fidelity tables of the README, from the committed rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sfvgen_plan.benchmarks.fidelity.page import agreement_table, policies_table
from sfvgen_plan.benchmarks.fidelity.rows import ROWS, FidelityRow, read_rows
from sfvgen_plan.benchmarks.fidelity.summary import summarise
from sfvgen_plan.benchmarks.report.markdown import markdown, percentage
from sfvgen_plan.benchmarks.statistics import wilson

GAPS = "agents.csv"
"""Rows of agents that were each trained for one task, so that they can't be compared over all of them."""


def fidelity_sections(folder: Path) -> list[str]:
    """Tables of the rows in ``folder``: of all policies under one protocol, and of agents that play a task each."""
    sections = []
    if (folder / ROWS).exists():
        summary = summarise(read_rows(folder / ROWS, FidelityRow), [])
        sections += [
            "**Fidelity: success in imagination against success in the real simulator** "
            f"({summary['episodes_per_policy']} start frames, {len(summary['tasks'])} tasks; "
            "intervals: bootstrap, and Wilson for shares)\n\n" + agreement_table(summary),
            policies_table(summary),
        ]
    if (folder / GAPS).exists():
        sections.append(_gaps(read_rows(folder / GAPS, FidelityRow)))
    return sections


def _gaps(rows: Sequence[FidelityRow]) -> str:
    lines = []
    whole = [row for row in rows if not row.error]
    for policy, task in dict.fromkeys((row.policy, row.task) for row in whole):
        own = [row for row in whole if (row.policy, row.task) == (policy, task)]
        real, imagined = (
            wilson(sum(getattr(row, f"{verdict}_success") for row in own), len(own)) for verdict in ("real", "imagined")
        )
        gap = f"{100 * (imagined.mean - real.mean):+.0f}"
        lines.append((f"`{policy}`", task, str(len(own)), percentage(real), percentage(imagined), gap))
    header = ("agent", "task", "episodes", "real %", "imagined %", "gap")
    title = "**Agents trained for one task: real and imagined success** (points of any-time success)"
    return f"{title}\n\n" + markdown(header, lines)
