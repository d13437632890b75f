"""Charts as inline SVG, drawn with the colours of the page around them (CSS variables), so one drawing serves light and
dark. Every text from outside goes through ``escape``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from sfvgen_plan.benchmarks.statistics import Estimate

WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, TOP, BOTTOM = 46, 24, 12, 44
COLOURS = 8
"""Colours of the page, ``--c0`` to ``--c7``; more lines than that can't be told apart."""


@dataclass(frozen=True)
class Line:
    """``points`` (x, y) with the band ``low`` to ``high`` of each y, all within the axes."""

    name: str
    points: Sequence[tuple[float, float]]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Point:
    """A success rate at ``x``."""

    name: str
    x: float
    y: Estimate


def interval_bar(estimate: Estimate, control: bool = False) -> str:
    """A success rate as a bar of 0 to 100 % with its interval."""
    mean, low, high = (100 * value for value in (estimate.mean, estimate.low, estimate.high))
    kind = "bar control" if control else "bar"
    return (
        f'<svg class="{kind}" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" '
        f'aria-label="{mean:.0f} percent, interval {low:.0f} to {high:.0f}">'
        f'<rect class="track" width="100" height="12"/><rect class="fill" width="{mean:.2f}" height="12"/>'
        f'<rect class="range" x="{low:.2f}" y="5" width="{max(0.4, high - low):.2f}" height="2"/></svg>'
    )


def line_chart(lines: Sequence[Line], x_name: str, x_max: float) -> str:
    """Shares (0 to 1) over x from 0 to ``x_max``, with a legend below."""
    drawn = []
    for index, line in enumerate(lines[:COLOURS]):
        xs = [_x(x / x_max) for x, _ in line.points]
        upper = [f"{x:.1f},{_y(y):.1f}" for x, y in zip(xs, line.high, strict=True)]
        lower = [f"{x:.1f},{_y(y):.1f}" for x, y in zip(xs, line.low, strict=True)]
        path = " ".join(f"{x:.1f},{_y(y):.1f}" for x, (_, y) in zip(xs, line.points, strict=True))
        drawn.append(f'<polygon class="band" style="fill:var(--c{index})" points="{" ".join(upper + lower[::-1])}"/>')
        drawn.append(
            f'<polyline class="line" style="stroke:var(--c{index})" points="{path}"><title>{escape(line.name)}</title>'
            "</polyline>"
        )
    ticks = [(value / x_max, f"{value:g}") for value in _nice_ticks(x_max)]
    legend = "".join(
        f'<li><span class="dot" style="background:var(--c{index})"></span>{escape(line.name)}</li>'
        for index, line in enumerate(lines[:COLOURS])
    )
    return _frame(drawn, ticks, x_name) + f'<ul class="legend">{legend}</ul>'


def scatter(points: Sequence[Point], x_name: str) -> str:
    """Success rates with their intervals over a logarithmic x that has a place for zero, numbered, with a key below."""
    positive = [point.x for point in points if point.x > 0]
    low = math.floor(math.log10(min(positive, default=1)))
    high = math.ceil(math.log10(max(positive, default=10)))
    high = max(high, low + 1)

    def place(x: float) -> float:
        # The leftmost tenth is for zero, which has no logarithm.
        return 0.05 if x <= 0 else 0.14 + 0.82 * (math.log10(x) - low) / (high - low)

    drawn = []
    for number, point in enumerate(points, start=1):
        x, style = _x(place(point.x)), f"var(--c{(number - 1) % COLOURS})"
        drawn.append(
            f'<g style="stroke:{style};fill:{style}"><title>{escape(point.name)}: {100 * point.y.mean:.0f} % at '
            f'{_number(point.x)}</title><line class="error" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(point.y.low):.1f}" '
            f'y2="{_y(point.y.high):.1f}"/><circle cx="{x:.1f}" cy="{_y(point.y.mean):.1f}" r="9"/></g>'
            f'<text class="number" x="{x:.1f}" y="{_y(point.y.mean) + 4:.1f}">{number}</text>'
        )
    step = max(1, (high - low) // 5)
    ticks = [(place(10.0**power), _power(power)) for power in range(low, high + 1, step)]
    if any(point.x <= 0 for point in points):
        ticks.insert(0, (place(0), "0"))
    key = "".join(
        f'<li><span class="dot" style="background:var(--c{(number - 1) % COLOURS})">{number}</span>'
        f"{escape(point.name)} <small>{100 * point.y.mean:.0f} % at {_number(point.x)}</small></li>"
        for number, point in enumerate(points, start=1)
    )
    return _frame(drawn, ticks, x_name) + f'<ul class="legend numbered">{key}</ul>'


def _frame(drawn: Iterable[str], ticks: Sequence[tuple[float, str]], x_name: str) -> str:
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="success over {escape(x_name)}">'
    ]
    for percent in range(0, 101, 25):
        y = _y(percent / 100)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{y + 4:.1f}">{percent}</text>')
    for share, text in ticks:
        parts.append(f'<text class="tick" text-anchor="middle" x="{_x(share):.1f}" y="{HEIGHT - 24}">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="name" text-anchor="middle" x="{middle}" y="{HEIGHT - 5}">{escape(x_name)}</text>')
    return "".join([*parts, *drawn, "</svg>"])


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def _nice_ticks(limit: float) -> list[float]:
    rough = limit / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [index * step for index in range(int(limit / step) + 1)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _power(power: int) -> str:
    return f"{10.0**power:g}" if -3 <= power <= 4 else f"10^{power}"
