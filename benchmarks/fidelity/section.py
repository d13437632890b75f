"""The fidelity tables of the README, from the committed rows.

``python -m sfvgen_plan.benchmarks.fidelity.section RUN ... --label sac-imagined --into FOLDER`` brings the rows of
agents that were each trained for one task together, as one agent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfvgen_plan.agents.registry import POLICY_PREFIX
from sfvgen_plan.arguments import run_script
from sfvgen_plan.benchmarks.fidelity.page import agreement_table, policies_table
from sfvgen_plan.benchmarks.fidelity.rows import ROWS, FidelityRow, read_rows, write_rows
from sfvgen_plan.benchmarks.fidelity.summary import summarise
from sfvgen_plan.benchmarks.report.markdown import markdown, percentage
from sfvgen_plan.benchmarks.statistics import wilson
from sfvgen_plan.console import Output
from sfvgen_plan.errors import UserError

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


def gather(runs: Sequence[Path], label: str, folder: Path) -> Path:
    """Rows of the Stable-Baselines3 agents in fidelity runs, under one name; those of that name there before go.

    Raises:
        UserError: a run without such rows.
    """
    file, found = folder / GAPS, []
    for run in runs:
        rows = [row for row in read_rows(run / ROWS, FidelityRow) if row.policy.startswith(POLICY_PREFIX)]
        if not rows:
            raise UserError(
                f"runs={str(run)!r} has no rows of an agent {POLICY_PREFIX}PATH.zip; give it one with --policies"
            )
        found += [replace(row, policy=label) for row in rows]
    others = [row for row in read_rows(file, FidelityRow) if row.policy != label] if file.exists() else []
    write_rows(file, FidelityRow, [*others, *found])
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.section"
    parser = argparse.ArgumentParser(prog=program, description="Bring agents of one task each together.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of sfvgen-plan fidelity")
    parser.add_argument("--label", required=True, help="name of the agent")
    parser.add_argument("--into", required=True, type=Path, metavar="FOLDER", help=f"holds {GAPS}")

    def run(args: argparse.Namespace) -> None:
        Output.of(args).note(f"rows: {gather(args.runs, args.label, args.into)}")

    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
