"""Results as tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sfvgen_plan.benchmarks.report.markdown import percentage, readable
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
    if len(lines) > 1:
        made.rows[-2].end_section = True
    return made


def verdict(rows: Sequence[EpisodeRow]) -> str:
    """What one agent's rows under one protocol say, in a sentence."""
    own = Summary(rows)
    rate = own.success_any
    solved = f"{own.agent} solved {100 * rate.mean:.0f} % of {own.episodes} episode{'s' * (own.episodes > 1)}"
    interval = f"95 % interval {100 * rate.low:.0f} to {100 * rate.high:.0f} %"
    broke = f"; {own.errors} broke off" if own.errors else ""
    seconds = own.plan_seconds
    pace = f"{readable(seconds)} s" if seconds >= 0.1 else f"{max(1, 1000 * seconds):.0f} ms"
    asked = f"{own.denoiser_calls:.0f} calls of the denoiser for {own.imagined_decisions:.0f} imagined decisions"
    costs = f"{pace} and {asked}" if own.imagined_decisions else f"{pace} and imagined nothing"
    devices = "".join(f", on {device}" for device in own.by_device if device)
    return f"{solved} ({interval}{broke}); a decision took {costs}{devices}."


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
        parts += [table(board.title, header, lines), Text(board.caveat + "\n", style="dim")]
    return Group(*parts)
