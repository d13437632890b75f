"""The leaderboard as text: tables for a terminal, and a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from sfvgen_plan.benchmarks.report.markdown import markdown
from sfvgen_plan.benchmarks.report.references import Published, published_beside
from sfvgen_plan.benchmarks.report.standings import Board, Standing
from sfvgen_plan.benchmarks.report.summary import percentage
from sfvgen_plan.benchmarks.robust import probability_of_improvement
from sfvgen_plan.benchmarks.statistics import Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADER = (
    "#",
    "agent",
    "episodes",
    "success %, any-time",
    "success %, final",
    "speed of success, IQM",
    "seconds per plan",
    "denoiser calls per plan",
    "imagined decisions per plan",
    "errors",
)
IN_A_TERMINAL = {
    "#": 0,
    "agent": 1,
    "episodes": 2,
    "success %\nany-time": 3,
    "success %\nfinal": 4,
    "speed,\nIQM": 5,
}
"""The columns of ``HEADER`` that fit into 80 characters."""

NEIGHBOURS = 10
"""Pairs of neighbours in the ranking whose probability of improvement is shown."""

ESCAPES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"} | {mark: f"\\{mark}" for mark in "\\`*_[]#"}

CAVEAT = (
    "95 % intervals: Wilson for success, stratified bootstrap ({resamples} resamples) for the interquartile mean (IQM) "
    "of the speed of success, which is 1 at the first decision of an episode, falls to 1/{limit} at the last, and is 0 "
    "without success. An episode that broke off counts as a failure. Controls and agents that have not played every "
    "task have no rank."
)
PUBLISHED = "Published figures under other protocols: not comparable with the table above"


def terminal(boards: Sequence[Board], top: int | None = None) -> RenderableType:
    """All boards, one table each, with the published figures below in tables of their own."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for board in boards:
        lines = [[line[place] for place in IN_A_TERMINAL.values()] for line in lines_of(board, top)]
        parts.append(_rich_table(title_of(board), list(IN_A_TERMINAL), lines, wrapped=1))
        parts.append(Text(caveat(board) + left_out(board, top) + "\n", style="dim"))
        for block in published_beside(board.protocol):
            title = f"{PUBLISHED}\n{block.source}\n{block.protocol}"
            parts.append(_rich_table(title, ("agent", "success %", "note"), published_lines(block), wrapped=0))
    return Group(*parts)


def _rich_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]], wrapped: int) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Names may come from anywhere: as Text, brackets in them are no markup.
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, column in enumerate(header):
        table.add_column(column, justify="left" if index == wrapped else "right", overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    return table


def page(boards: Sequence[Board], top: int | None = None) -> str:
    """The leaderboard as a Markdown page."""
    parts = ["# Leaderboard"]
    for board in boards:
        parts += _section(board, top)
    return "\n\n".join(parts) + "\n"


def _section(board: Board, top: int | None) -> Iterator[str]:
    yield f"## {plain(title_of(board))}"
    yield markdown(HEADER, [_escaped(line, 1, 6) for line in lines_of(board, top)])
    yield caveat(board) + left_out(board, top)
    shown = board.standings[:top]
    yield "### Any-time success % by task"
    lines = [(task, *(rate(standing, task) for standing in shown)) for task in board.tasks]
    yield markdown(("task", *map(plain, board.names()[:top])), [_escaped(line, 0) for line in lines])
    improvements = improvement_lines(board)
    if improvements:
        yield "### Probability of improvement, each agent over the next"
        yield markdown(("agent", "over", "probability"), [_escaped(line, 0, 1) for line in improvements])
    for block in published_beside(board.protocol):
        yield f"### {PUBLISHED}"
        yield f"Source: [{plain(block.source)}]({block.url}). Protocol: {plain(block.protocol)}."
        yield markdown(("agent", "success %", "note"), published_lines(block))


def title_of(board: Board) -> str:
    return f"Protocol {board.protocol} (rules {board.protocol_hash or 'unknown'})"


def caveat(board: Board) -> str:
    return CAVEAT.format(resamples=board.resamples, limit=board.limit)


def left_out(board: Board, top: int | None) -> str:
    """A sentence on the agents that are not shown."""
    hidden = 0 if top is None else len(board.standings) - top
    return f" {hidden} more agents are not shown." if hidden > 0 else ""


def lines_of(board: Board, top: int | None = None) -> list[tuple[str, ...]]:
    """Cells of the ranking, in the order of ``HEADER``."""
    found = zip(board.standings, board.names(), board.places, board.speed, strict=True)
    return [_line(board, *item) for item in list(found)[:top]]


def _line(board: Board, standing: Standing, name: str, place: int | None, speed: Estimate) -> tuple[str, ...]:
    return (
        "–" if place is None else str(place),
        name + remark(board, standing),
        str(standing.episodes),
        percentage(standing.success_any),
        percentage(standing.success_final),
        interval(speed),
        seconds(standing),
        f"{standing.calls_per_plan:.1f}",
        f"{standing.imagined_per_plan:.0f}",
        str(standing.errors),
    )


def remark(board: Board, standing: Standing) -> str:
    """Why a standing has no rank."""
    if not board.complete(standing):
        return f" · {len(standing.tasks.keys() & set(board.tasks))} of {len(board.tasks)} tasks"
    return " · control" if standing.control else ""


def interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def seconds(standing: Standing) -> str:
    """Seconds per plan on each device."""
    return ", ".join(
        f"{value:.3f}" + (f" ({device})" if device else "")
        for device, value in sorted(standing.seconds_per_plan.items())
    )


def rate(standing: Standing, task: str) -> str:
    """Any-time success on a task in percent, or nothing."""
    totals = standing.tasks.get(task)
    return f"{100 * totals.any_time / totals.episodes:.0f}" if totals else ""


def learning(board: Board, standing: Standing) -> str:
    """What training cost, as far as its records say: that of the checkpoint, and that of the agent in it."""
    found = board.learning.get((standing.agent, standing.checkpoint), {})
    parts = []
    for what in ("checkpoint", "agent"):
        record = found.get(what)
        if not isinstance(record, Mapping):
            continue
        facts = [
            str(record["algorithm"]) if "algorithm" in record else "",
            f"{record['seconds'] / 60:.0f} min" if _is_number(record.get("seconds")) else "",
            f"on {record['device']}" if "device" in record else "",
            f"{record['episodes']:,} episodes" if _is_number(record.get("episodes")) else "",
            f"{record['decisions']:,} imagined decisions" if _is_number(record.get("decisions")) else "",
        ]
        if any(facts):
            parts.append(
                f"{what}: {' '.join(filter(None, facts[:3]))}{''.join(', ' + fact for fact in facts[3:] if fact)}"
            )
    return "; ".join(parts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def published_lines(block: Published) -> list[tuple[str, str, str]]:
    return [(row.name, f"{row.success:.1f}", row.note) for row in block.rows]


def improvement_lines(board: Board) -> list[tuple[str, str, str]]:
    """Each ranked agent or control against the next below it."""
    complete = [index for index, standing in enumerate(board.standings) if board.complete(standing)]
    names, lines = board.names(), []
    for upper, lower in list(pairwise(complete))[:NEIGHBOURS]:
        ours, theirs = (board.standings[index].scores(board.limit) for index in (upper, lower))
        estimate = probability_of_improvement(ours, theirs, min(board.resamples, 500))
        lines.append((names[upper], names[lower], interval(estimate)))
    return lines


def _escaped(line: Sequence[str], *names: int) -> tuple[str, ...]:
    """A line whose cells number ``names`` hold text from outside."""
    return tuple(plain(cell) if index in names else cell for index, cell in enumerate(line))


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(ESCAPES.get(letter, letter) for letter in " ".join(text.split()))
