"""Results as tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfvgen_plan.benchmarks.report.markdown import percentage
from sfvgen_plan.benchmarks.report.standings import Board
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.console import table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def eval_table(rows: Sequence[EpisodeRow], tasks: Sequence[str]) -> Table:
    """Table of one agent's rows under one protocol: a line per task and one for all."""
    summary = Summary(rows)
    lines = [
        (own.task, own.episodes, percentage(own.success_any), percentage(own.success_final), f"{own.return_:.1f}",
         f"{own.plan_seconds:.3f}", own.errors)
        for own in summary.in_order(tasks)
    ]  # fmt: skip
    header = ("task", "n", "any-time %", "final %", "return", "s/plan", "err")
    made = table(f"{summary.agent} · protocol {rows[0].protocol}", header, lines)
    costs = (
        f"{summary.denoiser_calls:.1f} denoiser calls and {summary.imagined_decisions:.0f} imagined decisions a plan"
    )
    made.caption = ", ".join([costs, *(f"on {device}" for device in summary.by_device if device)])
    if len(lines) > 1:
        made.rows[-2].end_section = True
    return made


def terminal(boards: Sequence[Board]) -> RenderableType:
    """All boards, one table each."""
    from rich.console import Group
    from rich.text import Text

    header = ("#", "agent", "n", "any-time %", "final %", "s/plan", "err")
    parts: list[RenderableType] = []
    for board in boards:
        lines = []
        for own in board.standings:
            place, name = str(own.rank or "–"), " · ".join(filter(None, (own.name, own.remark)))
            found, seconds = own.summary, [f"{value:.3f}" for value in sorted(own.summary.by_device.values())]
            success = percentage(found.success_any), f"{100 * found.success_final.mean:.0f}"
            pace = "–".join(dict.fromkeys((seconds[0], seconds[-1])))
            lines.append((place, name, found.episodes, *success, pace, found.errors))
        parts += [table(board.title, header, lines, texts=[1]), Text(board.caveat + "\n", style="dim")]
    return Group(*parts)
