"""Results as text: tables that fit a terminal, and the leaderboard as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sfvgen_plan.benchmarks.report.markdown import markdown, percentage, plain, span
from sfvgen_plan.benchmarks.report.references import Published, published_beside
from sfvgen_plan.benchmarks.report.standings import Board, Standing
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.benchmarks.statistics import RESAMPLES, probability_of_improvement
from sfvgen_plan.console import table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HEADER = (
    "#", "agent", "episodes", "success %, any-time", "success %, final", "speed of success, IQM", "seconds per plan",
    "denoiser calls per plan", "imagined decisions per plan", "errors",
)  # fmt: skip
NEIGHBOURS = 10
"""Pairs of neighbours in the ranking whose probability of improvement is shown."""

PUBLISHED = "Published figures under other protocols: not comparable with the table above"
IMPROVEMENT = "Probability of improvement, each agent over the next"


def eval_table(rows: Sequence[EpisodeRow], tasks: Sequence[str]) -> Table:
    """Table of one agent's rows under one protocol: a line per task and one for all."""
    summary = Summary(rows)
    made = table(
        f"{summary.agent} · protocol {rows[0].protocol}",
        ("task", "n", "any-time %", "final %", "return", "s/plan", "err"),
        [
            (
                own.task,
                str(own.episodes),
                percentage(own.success_any),
                percentage(own.success_final),
                f"{own.return_:.1f}",
                f"{own.plan_seconds:.3f}",
                str(own.errors),
            )
            for own in summary.in_order(tasks)
        ],
    )
    costs = (
        f"{summary.denoiser_calls:.1f} denoiser calls and {summary.imagined_decisions:.0f} imagined decisions a plan"
    )
    made.caption = ", ".join(filter(None, [costs, *(f"on {device}" for device in summary.by_device if device)]))
    if len(summary.in_order(tasks)) > 1:
        made.rows[-2].end_section = True
    return made


def terminal(boards: Sequence[Board], top: int | None = None) -> RenderableType:
    """All boards, one table each, with the published figures below in tables of their own."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for board in boards:
        lines = []
        for standing in board.standings[:top]:
            place, name, episodes, any_time, *_, errors = cells(standing, board)
            summary = standing.summary
            final, pace = f"{100 * summary.success_final.mean:.0f}", f"{standing.speed.mean:.2f}"
            seconds = sorted({f"{value:.3f}" for value in summary.by_device.values()}, key=float)
            lines.append(
                (place, name, episodes, any_time, final, pace, "–".join(seconds[:1] + seconds[1:][-1:]), errors)
            )
        header = ("#", "agent", "n", "any-time %", "final %", "speed", "s/plan", "err")
        parts += [table(title_of(board), header, lines, texts=[1]), Text(caveat(board, top) + "\n", style="dim")]
        for block in published_beside(board.protocol):
            parts += [
                Text(f"{PUBLISHED}\n{block.source}\n{block.protocol}"),
                table(None, ("agent", "success %", "note"), published_lines(block), texts=(0, 2)),
            ]
    return Group(*parts)


def page(boards: Sequence[Board], top: int | None = None) -> str:
    """The leaderboard as a Markdown page."""
    parts = ["# Leaderboard"]
    for board in boards:
        parts += _section(board, top)
    return "\n\n".join(parts) + "\n"


def _section(board: Board, top: int | None) -> Iterator[str]:
    shown = board.standings[:top]
    yield f"## {plain(title_of(board))}"
    yield markdown(HEADER, [_escaped(cells(standing, board), 1, 6) for standing in shown])
    yield caveat(board, top)
    yield "### Any-time success % by task"
    names = [plain(standing.name) for standing in shown]
    yield markdown(("task", *names), [_escaped((task, *rates(shown, task)), 0) for task in board.tasks])
    if improvements := improvement_lines(board):
        yield f"### {IMPROVEMENT}"
        yield markdown(("agent", "over", "probability"), [_escaped(line, 0, 1) for line in improvements])
    for block in published_beside(board.protocol):
        yield f"### {PUBLISHED}"
        yield f"Source: [{plain(block.source)}]({block.url}). Protocol: {plain(block.protocol)}."
        yield markdown(("agent", "success %", "note"), published_lines(block))


def title_of(board: Board) -> str:
    """Protocol and rules."""
    return f"Protocol {board.protocol} (rules {board.protocol_hash or 'unknown'})"


def caveat(board: Board, top: int | None) -> str:
    """What the figures mean, and who is not shown."""
    hidden = 0 if top is None else max(0, len(board.standings) - top)
    return (
        f"95 % intervals: Wilson for success, stratified bootstrap (at most {RESAMPLES} resamples) for the "
        "interquartile mean (IQM) of the speed of success, which is 1 at the first decision of an episode, falls to "
        f"1/{board.limit} at the last, and is 0 without success. An episode that broke off counts as a failure. "
        "Controls and agents that have not played every task have no rank."
        + (f" {hidden} more agents are not shown." if hidden else "")
    )


def cells(standing: Standing, board: Board) -> tuple[str, ...]:
    """A line of the ranking, in the order of ``HEADER``."""
    summary = standing.summary
    return (
        "–" if standing.rank is None else str(standing.rank),
        " · ".join(filter(None, (standing.name, remark(standing, board)))),
        str(summary.episodes),
        percentage(summary.success_any),
        percentage(summary.success_final),
        span(standing.speed),
        ", ".join(f"{value:.3f}" + f" ({device})" * bool(device) for device, value in summary.by_device.items()),
        f"{summary.denoiser_calls:.1f}",
        f"{summary.imagined_decisions:.0f}",
        str(summary.errors),
    )


def remark(standing: Standing, board: Board) -> str:
    """Why a standing has no rank."""
    if standing.missing:
        return f"{len(board.tasks) - standing.missing} of {len(board.tasks)} tasks"
    return "control" if standing.control else ""


def rates(standings: Sequence[Standing], task: str) -> list[str]:
    """Any-time success of each agent on a task in percent, or nothing."""
    own = [standing.summary.by_task.get(task) for standing in standings]
    return [f"{100 * summary.success_any.mean:.0f}" if summary else "" for summary in own]


def learning(standing: Standing) -> str:
    """What training cost, as far as its records say: that of the checkpoint, and that of the agent in it."""
    parts = []
    for what in ("checkpoint", "agent"):
        record = standing.learning.get(what)
        if not isinstance(record, Mapping):
            continue
        how = (
            str(record.get("algorithm", "")),
            _counted(record, "seconds", "{:.0f} min", 1 / 60),
            f"on {record['device']}" if "device" in record else "",
        )
        data = (
            _counted(record, "episodes", "{:,} episodes"),
            _counted(record, "decisions", "{:,} imagined decisions"),
        )
        if any(facts := [" ".join(filter(None, how)), *data]):
            parts.append(f"{what}: {', '.join(filter(None, facts))}")
    return "; ".join(parts)


def _counted(record: Mapping[str, Any], name: str, text: str, factor: float = 1) -> str:
    value = record.get(name)
    return text.format(factor * value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def published_lines(block: Published) -> list[tuple[str, str, str]]:
    """Agent, success in percent, note."""
    return [(row.name, f"{row.success:.1f}", row.note) for row in block.rows]


def improvement_lines(board: Board) -> list[tuple[str, str, str]]:
    """Each agent or control that has played every task against the next below it."""
    complete = [standing for standing in board.standings if not standing.missing]
    return [
        (upper.name, lower.name, span(probability_of_improvement(upper.scores, lower.scores, 500)))
        for upper, lower in list(pairwise(complete))[:NEIGHBOURS]
    ]


def _escaped(line: Sequence[str], *names: int) -> tuple[str, ...]:
    """A line whose cells number ``names`` hold text from outside."""
    return tuple(plain(cell) if index in names else cell for index, cell in enumerate(line))
