"""The picture of a fidelity run as an SVG file that stands alone, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

SIDE, LEFT, TOP, KEY = 390, 56, 16, 400
COLOURS = ("#2563a8", "#c2530a", "#1b7f5c", "#9a3f86", "#8a6d00", "#3e7f9c", "#b3263a", "#5a5f6a")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2126}.page{fill:#fff}.grid{stroke:#dfe2e6}"
    ".even{stroke:#9aa4ae;stroke-dasharray:5 4}.dot{fill:#fff;font-weight:700;font-size:11px;text-anchor:middle}"
    "@media(prefers-color-scheme:dark){text{fill:#e7e9ec}.page{fill:#1c2024}.grid{stroke:#333a41}"
    ".even{stroke:#5d6670}.dot{fill:#fff}}"
)


def scatter(summary: Mapping[str, Any]) -> str:
    """Imagined over real success of every policy with 95 % intervals; on the dashed line they agree."""
    policies = summary["policies"]
    width, height = LEFT + SIDE + KEY, max(TOP + SIDE + 52, TOP + 24 * len(policies) + 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>imagined over real success</title><style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts += [_line((share, 0), (share, 1), 'class="grid"'), _line((0, share), (1, share), 'class="grid"')]
        parts.append(_text(_x(share), _y(0) + 18, f"{100 * share:.0f}", 'text-anchor="middle"'))
        parts.append(_text(LEFT - 7, _y(share) + 4, f"{100 * share:.0f}", 'text-anchor="end"'))
    parts.append(_text(_x(0.5), _y(0) + 40, "real success, %", 'text-anchor="middle"'))
    turned = f'text-anchor="middle" transform="rotate(-90 14 {_y(0.5):.1f})"'
    parts += [_text(14, _y(0.5), "imagined success, %", turned), _line((0, 0), (1, 1), 'class="even"')]
    dots = []  # above all lines
    for number, policy in enumerate(policies, start=1):
        real, imagined, colour = policy["real"], policy["imagined"], COLOURS[(number - 1) % len(COLOURS)]
        look = f'style="stroke:{colour};opacity:.45"'
        parts.append(_line((real["low"], imagined["mean"]), (real["high"], imagined["mean"]), look))
        parts.append(_line((real["mean"], imagined["low"]), (real["mean"], imagined["high"]), look))
        row = TOP + 24 * number - 14
        for x, y in ((_x(real["mean"]), _y(imagined["mean"])), (LEFT + SIDE + 28, row)):
            dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{colour}"/>')
            dots.append(_text(x, y + 4, str(number), 'class="dot"'))
        name = f"{policy['policy']} · {100 * real['mean']:.0f} → {100 * imagined['mean']:.0f} %"
        dots.append(_text(LEFT + SIDE + 44, row + 4, name))
    return "".join([*parts, *dots, "</svg>\n"])


def _text(x: float, y: float, text: str, look: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], look: str) -> str:
    """Between two points in shares of the axes."""
    (x1, y1), (x2, y2) = ((_x(x), _y(y)) for x, y in (start, end))
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {look}/>'


def _x(share: float) -> float:
    return LEFT + share * SIDE


def _y(share: float) -> float:
    return TOP + (1 - share) * SIDE
