"""A fidelity run for people: one Markdown page, and the tables that the README shares with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.fidelity.rows import ROWS, FidelityRow, read_rows
from sfvgen_plan.benchmarks.fidelity.summary import summarise
from sfvgen_plan.benchmarks.report.markdown import markdown, percentage, plain, span
from sfvgen_plan.benchmarks.statistics import Estimate, wilson

MEASURES = {"pearson": "Pearson", "mmrv": "MMRV"}
GAPS = "agents.csv"
"""Rows of agents that were each trained for one task, so that they can't be compared over all of them."""


def page(summary: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """``summary`` of ``summarise``, ``record`` of the run."""
    broken = ", ".join(plain(name) for name in summary["broken_policies"])
    parts = [
        f"# Fidelity of checkpoint {record['checkpoint']} under `{record['protocol']}`",
        f"{len(summary['policies'])} policies on the same {summary['episodes_per_policy']} start frames "
        f"({len(summary['tasks'])} tasks), at most {record['max_decisions']} decisions. Imagined success: "
        f"the success head gives a decision more than {record['threshold']:g}. {summary['errors']} episodes broke off."
        + (f" **Left out, as they played no episode to its end: {broken}.**" if broken else ""),
        agreement_table(summary),
        f"Imagined success is {100 * summary['bias']:+.0f} points off on average.",
        policies_table(summary),
        "![imagined over real success](scatter.svg)",
    ]
    return "\n\n".join(parts) + "\n"


def agreement_table(summary: Mapping[str, Any]) -> str:
    """How well scores in imagination tell real ones."""
    titles = {"imagined": "agreement", "imagined, planners left out": "agreement_without_planners"}
    lines = [(title, *(_span(summary[key].get(name)) for name in MEASURES)) for title, key in titles.items()]
    return markdown(("scores, against real ones", *MEASURES.values()), lines)


def policies_table(summary: Mapping[str, Any]) -> str:
    """Each policy's success in both simulators, in percent."""
    header = ("policy", "kind", "real %", "imagined %")
    rates = [[percentage(Estimate(**item[where])) for where in ("real", "imagined")] for item in summary["policies"]]
    names = [(plain(item["policy"]), item["kind"]) for item in summary["policies"]]
    return markdown(header, [(*name, *cells) for name, cells in zip(names, rates, strict=True)])


def fidelity_sections(folder: Path) -> list[str]:
    """Tables of the rows in ``folder``: of all policies under one protocol, and of agents that play a task each."""
    sections = []
    if (folder / ROWS).exists():
        summary = summarise(read_rows(folder / ROWS))
        sections += [
            "**Fidelity: success in imagination against success in the real simulator** "
            f"({summary['episodes_per_policy']} start frames, {len(summary['tasks'])} tasks; "
            "intervals: bootstrap, and Wilson for shares)\n\n" + agreement_table(summary),
            policies_table(summary),
        ]
    if (folder / GAPS).exists():
        sections.append(_gaps([row for row in read_rows(folder / GAPS) if not row.error]))
    return sections


def _gaps(rows: Sequence[FidelityRow]) -> str:
    lines = []
    for policy, task in dict.fromkeys((row.policy, row.task) for row in rows):
        own = [row for row in rows if (row.policy, row.task) == (policy, task)]
        real = wilson(sum(row.real_success for row in own), len(own))
        imagined = wilson(sum(row.imagined_success for row in own), len(own))
        gap = f"{100 * (imagined.mean - real.mean):+.0f}"
        lines.append((f"`{policy}`", task, str(len(own)), percentage(real), percentage(imagined), gap))
    header = ("agent", "task", "episodes", "real %", "imagined %", "gap")
    title = "**Agents trained for one task: real and imagined success** (points of any-time success)"
    return f"{title}\n\n" + markdown(header, lines)


def _span(estimate: Mapping[str, Any] | None) -> str:
    return span(Estimate(**estimate), 3) if estimate else "–"
