"""The leaderboard as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Names of agents, tasks, protocols and devices come from stores that anybody may have written: the template escapes all
of them, and the page's content security policy forbids scripts and requests besides.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from sfvgen_plan.benchmarks.report.markdown import rendered
from sfvgen_plan.benchmarks.report.standings import Board
from sfvgen_plan.benchmarks.statistics import wilson

COLOURS = 8  # colours of the page, --c0 to --c7; more lines than that can't be told apart
PROFILE_POINTS = 50
WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, UPPER, LOWER = 46, 616, 12, 286  # size of a chart, and edges of the area within its axes, in SVG units


def report(boards: Sequence[Board], when: str = "") -> str:
    """The whole page; ``when`` says when the rows were read."""
    style = (resources.files(__package__) / "report.css").read_text()
    sections = [(board, _profiles(board)) for board in boards]
    area = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "x": _x, "y": _y}
    return rendered("report/report.html.jinja", style=style, when=when, sections=sections, **area)


def _profiles(board: Board) -> dict[str, Any] | None:
    """Share of the episodes solved within so many decisions, of the first agents that have played every task."""
    complete = [own for own in board.standings if len(own.summary.by_task) == len(board.tasks)]
    steps = sorted({round(board.limit * n / PROFILE_POINTS) for n in range(PROFILE_POINTS + 1)})
    lines = []
    for own in complete[:COLOURS]:
        solved = [row.first_success or row.decisions for row in own.summary.rows if row.success_any]
        shares = [wilson(sum(at <= step for at in solved), own.summary.episodes) for step in steps]
        middle, low, high = (
            [f"{_x(step / board.limit)},{_y(getattr(share, end))}" for step, share in zip(steps, shares, strict=True)]
            for end in ("mean", "low", "high")
        )
        lines.append({"name": own.name, "points": middle, "band": high + low[::-1]})
    every = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if s >= board.limit / 5)
    ticks = [(value / board.limit, f"{value}") for value in range(0, board.limit + 1, every)]
    more = f" The first {COLOURS} of {len(complete)} agents." if len(complete) > COLOURS else ""
    return {"lines": lines, "ticks": ticks, "more": more} if lines else None


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(LOWER - share * (LOWER - UPPER), 1)
