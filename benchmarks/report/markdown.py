"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; numbers to the right."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    numeric = [all(line[i][:1] in "+-0123456789" for line in lines if i < len(line)) for i in range(len(header))]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ([*header], rule, *lines))
