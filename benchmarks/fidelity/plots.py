"""Pictures of a fidelity run as SVG files that stand alone, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN, KEY = 460, 460, 52, 46, 16, 400
COLOURS = ("#2563a8", "#c2530a", "#1b7f5c", "#9a3f86", "#8a6d00", "#3e7f9c", "#b3263a", "#5a5f6a")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2126}.soft{fill:#5d6670}.page{fill:#fff}.grid{stroke:#dfe2e6}"
    ".even{stroke:#9aa4ae;stroke-dasharray:5 4}.number{fill:#fff;font-weight:700;font-size:11px;text-anchor:middle}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ec}.soft{fill:#9aa4ae}.page{fill:#1c2024}.grid{stroke:#333a41}"
    ".even{stroke:#5d6670}.number{fill:#fff}}"
)


def scatter(summary: dict[str, Any]) -> str:
    """Imagined over real success of every policy with 95 % intervals; on the dashed line they agree."""
    parts = [_line(_x(0), _y(0), _x(1), _y(1), "even")]
    key = []
    for number, policy in enumerate(summary["policies"], start=1):
        real, imagined = policy["real"], policy["imagined"]
        colour = COLOURS[(number - 1) % len(COLOURS)]
        x, y = _x(real["mean"]), _y(imagined["mean"])
        parts += [
            _line(_x(real["low"]), y, _x(real["high"]), y, style=f"stroke:{colour};opacity:.45"),
            _line(x, _y(imagined["low"]), x, _y(imagined["high"]), style=f"stroke:{colour};opacity:.45"),
        ]
        key.append((number, colour, f"{policy['policy']} · {100 * real['mean']:.0f} → {100 * imagined['mean']:.0f} %"))
    for number, policy in enumerate(summary["policies"], start=1):  # above all lines
        parts += _dot(number, _x(policy["real"]["mean"]), _y(policy["imagined"]["mean"]))
    ticks = [(value, f"{100 * value:.0f}") for value in (0, 0.25, 0.5, 0.75, 1)]
    return _picture(parts, ticks, ticks, "real success, %", "imagined success, %", key)


def drift(summary: dict[str, Any]) -> str:
    """Errors of imagined places in cm over decisions, with those of the read-outs on real frames below (thin)."""
    lines = summary["drift"]
    if not lines:
        return _picture([], [], [], "decisions", "cm", [])
    last = lines[-1]["decision"]
    most = max(max(line["hand_error_cm"], line["object_error_cm"], 1.0) for line in lines) * 1.05
    parts, key = [], []
    shown = (
        ("hand_error_cm", "hand, imagined", 2.5),
        ("hand_readout_error_cm", "hand, read from real frames", 1),
        ("object_error_cm", "object, imagined", 2.5),
        ("object_readout_error_cm", "object, read from real frames", 1),
    )
    for index, (name, label, width) in enumerate(shown):
        colour = COLOURS[index // 2]
        path = " ".join(f"{_x(line['decision'] / last):.1f},{_y(line[name] / most):.1f}" for line in lines)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        key.append((None, colour, f"{label}: {lines[-1][name]:.1f} cm at {last}"))
    x_ticks = [(value / last, f"{value:g}") for value in _ticks(last)]
    y_ticks = [(value / most, f"{value:g}") for value in _ticks(most)]
    return _picture(parts, x_ticks, y_ticks, "decisions", "error, cm", key)


def _picture(
    drawn: Sequence[str],
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_name: str,
    y_name: str,
    key: Sequence[tuple[int | None, str, str]],
) -> str:
    height = max(HEIGHT, MARGIN + 24 * len(key) + BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + KEY} {height}" role="img">',
        f"<title>{escape(y_name)} over {escape(x_name)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH + KEY}" height="{height}"/>',
    ]
    for share, text in x_ticks:
        parts.append(_line(_x(share), _y(0), _x(share), _y(1), "grid"))
        parts.append(f'<text class="soft" x="{_x(share):.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{text}</text>')
    for share, text in y_ticks:
        parts.append(_line(_x(0), _y(share), _x(1), _y(share), "grid"))
        parts.append(f'<text class="soft" x="{LEFT - 7}" y="{_y(share) + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<text x="{_x(0.5):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>')
    place = f'transform="translate(14 {_y(0.5):.1f}) rotate(-90)"'
    parts.append(f'<text {place} text-anchor="middle">{escape(y_name)}</text>')
    parts += drawn
    for line, (number, colour, text) in enumerate(key):
        y = MARGIN + 10 + 24 * line
        parts += _dot(number, WIDTH + 12, y, colour)
        parts.append(f'<text x="{WIDTH + 28}" y="{y + 4}">{escape(text)}</text>')
    return "".join([*parts, "</svg>\n"])


def _dot(number: int | None, x: float, y: float, colour: str = "") -> list[str]:
    colour = colour or COLOURS[((number or 1) - 1) % len(COLOURS)]
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9 if number else 6}" fill="{colour}"/>'
    return [dot, f'<text class="number" x="{x:.1f}" y="{y + 4:.1f}">{number}</text>'] if number else [dot]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "", style: str = "") -> str:
    look = f' class="{kind}"' if kind else f' style="{style}"'
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{look}/>'


def _ticks(limit: float) -> list[float]:
    power = 10.0 ** math.floor(math.log10(limit / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= limit / 5)
    return [index * step for index in range(int(limit / step) + 1)]


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - MARGIN)


def _y(share: float) -> float:
    return MARGIN + (1 - share) * (HEIGHT - MARGIN - BOTTOM)
