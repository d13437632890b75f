"""The leaderboard as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Names of agents, tasks, protocols and devices come from stores that anybody may have written: the template escapes all
of them, and the page's content security policy forbids scripts and requests besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.report import tables
from sfvgen_plan.benchmarks.report.clips import Clip, chosen
from sfvgen_plan.benchmarks.report.markdown import percentage, span
from sfvgen_plan.benchmarks.report.references import published_beside
from sfvgen_plan.benchmarks.report.standings import Board, Standing
from sfvgen_plan.benchmarks.statistics import performance_profile

TOP = 40
"""Agents of each protocol that a report shows unless told otherwise; more columns than that nobody reads."""

COLOURS = 8
"""Colours of the page, ``--c0`` to ``--c7``; more lines than that can't be told apart."""

PROFILE_POINTS = 50

CLIP_BYTES = 12_000_000
"""Bytes of a page that videos may take; what does not fit is left out."""

WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, UPPER, LOWER = 46, 616, 12, 286
"""Size of a chart, and edges of the area within its axes, in SVG units."""


def report(
    boards: Sequence[Board], top: int | None = TOP, when: str = "", clips: Sequence[tuple[Clip, Path]] = ()
) -> str:
    """The whole page. ``when`` says when the rows were read; ``clips`` are videos of episodes."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "x": _x, "y": _y}
    environment.globals |= {"tables": tables, "percentage": percentage, "span": span, "published": published_beside}
    folder = resources.files(__package__)
    sections = []
    for board in boards:
        shown = board.top(top)
        films, more = _films(shown, clips, CLIP_BYTES // len(boards))
        sections.append((board, shown, tables.caveat(board, top), _profiles(shown), _scatters(shown), films, more))
    template = environment.from_string((folder / "report.html.jinja").read_text())
    return template.render(style=(folder / "report.css").read_text(), when=when, sections=sections)


def _profiles(board: Board) -> dict[str, Any] | None:
    """Share of the episodes solved within so many decisions, of the first agents that have played every task."""
    complete, limit = [standing for standing in board.standings if not standing.missing], board.limit
    if not complete:
        return None
    steps = sorted({round(limit * n / PROFILE_POINTS) for n in range(PROFILE_POINTS + 1)})
    # Solved within n decisions is a score above (limit - n) / limit; half a step keeps rounding out of it.
    thresholds = [(limit - n + 0.5) / limit for n in steps]
    lines = []
    for standing in complete[:COLOURS]:
        share, low, high = (
            [f"{_x(step / limit)},{_y(value)}" for step, value in zip(steps, values, strict=True)]
            for values in performance_profile(standing.scores, thresholds, 500)
        )
        lines.append({"name": standing.name, "points": share, "band": high + low[::-1]})
    step = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if s >= limit / 5)
    ticks = [(value / limit, f"{value}") for value in range(0, limit + 1, step)]
    more = f" The first {COLOURS} of {len(complete)} agents." if len(complete) > COLOURS else ""
    return {"lines": lines, "ticks": ticks, "more": more}


def _scatters(board: Board) -> list[dict[str, Any]]:
    """Success against the budget of a plan, and against its time on each device."""
    budget = _scatter(board.standings, "imagined decisions per plan", lambda own: own.summary.imagined_decisions)
    charts = [{"title": "Success against planning budget", "of": "the decisions imagined for each plan", **budget}]
    devices = {device for standing in board.standings for device in standing.summary.by_device if device}
    for device in sorted(devices):
        timed = [standing for standing in board.standings if list(standing.summary.by_device) == [device]]
        chart = _scatter(timed, "seconds per plan", lambda own: own.summary.plan_seconds)
        if any(point["value"] > 0 for point in chart["points"]):
            what = f"the time for each plan on {device}"
            charts.append({"title": "Success against planning time", "of": what, **chart})
    return charts


def _scatter(standings: Sequence[Standing], axis: str, value: Callable[[Standing], float]) -> dict[str, Any]:
    """Points over a logarithmic axis whose leftmost tenth is for zero, which has no logarithm."""
    points = [(standing, value(standing)) for standing in standings[: 2 * COLOURS]]
    positive = [found for _, found in points if found > 0]
    low = math.floor(math.log10(min(positive, default=1)))
    high = max(math.ceil(math.log10(max(positive, default=10))), low + 1)

    def place(found: float) -> float:
        return 0.05 if found <= 0 else 0.14 + 0.82 * (math.log10(found) - low) / (high - low)

    powers = range(low, high + 1, max(1, (high - low) // 5))
    ticks = [(place(10.0**power), f"{10.0**power:g}" if -3 <= power <= 4 else f"10^{power}") for power in powers]
    return {
        "axis": axis,
        "ticks": [(place(0), "0"), *ticks] if len(positive) < len(points) else ticks,
        "points": [
            {
                "name": standing.name,
                "value": found,
                "text": f"{found:,.0f}" if found >= 100 else f"{found:.3g}",
                "x": _x(place(found)),
                "success": standing.summary.success_any,
            }
            for standing, found in points
        ],
    }


def _films(board: Board, clips: Sequence[tuple[Clip, Path]], budget: int) -> tuple[list[tuple[str, Clip, str]], int]:
    """Episodes of the board's agents (name, clip, data URI), successes first, and how many more there are."""
    names = {(own.summary.agent, own.summary.checkpoint): own.name for own in board.standings}
    rules = (board.protocol, board.protocol_hash)
    own = [item for item in clips if (item[0].protocol, item[0].protocol_hash) == rules and item[0].by in names]
    shown = chosen(own, list(names), budget)
    return [(names[clip.by], clip, uri) for clip, uri in shown], len(own) - len(shown)


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(LOWER - share * (LOWER - UPPER), 1)
