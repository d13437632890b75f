"""Results as text: tables that fit a terminal, and the leaderboard as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sfvgen_plan.benchmarks.report.markdown import markdown, percentage, plain
from sfvgen_plan.benchmarks.report.standings import Board, Standing
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.console import table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PUBLISHED = "Published figures under other protocols: not comparable with the table above"


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
            place, name, episodes, any_time, *_, errors = _cells(own)
            seconds = [f"{value:.3f}" for value in sorted(own.summary.by_device.values())]
            pace = "–".join(dict.fromkeys((seconds[0], seconds[-1])))
            lines.append((place, name, episodes, any_time, f"{100 * own.summary.success_final.mean:.0f}", pace, errors))
        parts += [table(board.title, header, lines, texts=[1]), Text(board.caveat + "\n", style="dim")]
    return Group(*parts)


def page(boards: Sequence[Board]) -> str:
    """The leaderboard as a Markdown page."""
    return "\n\n".join(["# Leaderboard", *(part for board in boards for part in _section(board))]) + "\n"


def _section(board: Board) -> Iterator[str]:
    header = (
        "#", "agent", "episodes", "success %, any-time", "success %, final", "seconds per plan",
        "denoiser calls per plan", "imagined decisions per plan", "errors",
    )  # fmt: skip
    yield f"## {plain(board.title)}"
    lines = [_cells(own) for own in board.standings]
    yield markdown(header, [[plain(cell) if n in (1, 5) else cell for n, cell in enumerate(line)] for line in lines])
    yield board.caveat
    yield "### Any-time success % by task"
    played = [own.summary.by_task for own in board.standings]
    rates = [(plain(task), *(_rate(summary.get(task)) for summary in played)) for task in board.tasks]
    yield markdown(("task", *(plain(own.name) for own in board.standings)), rates)
    for block in board.published:
        yield f"### {PUBLISHED}"
        yield f"Source: [{plain(block['source'])}]({block['url']}). Protocol: {plain(block['protocol'])}."
        figures = [(row["name"], f"{row['success']:.1f}", row.get("note", "")) for row in block["rows"]]
        yield markdown(("agent", "success %", "note"), figures)


def _cells(own: Standing) -> tuple[str, ...]:
    """A line of the ranking."""
    summary = own.summary
    return (
        "–" if own.rank is None else str(own.rank),
        " · ".join(filter(None, (own.name, own.remark))),
        str(summary.episodes),
        percentage(summary.success_any),
        percentage(summary.success_final),
        ", ".join(f"{value:.3f}" + f" ({device})" * bool(device) for device, value in summary.by_device.items()),
        f"{summary.denoiser_calls:.1f}",
        f"{summary.imagined_decisions:.0f}",
        str(summary.errors),
    )


def _rate(summary: Summary | None) -> str:
    return f"{100 * summary.success_any.mean:.0f}" if summary else ""
