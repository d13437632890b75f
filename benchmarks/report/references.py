"""Published figures, to be read beside a leaderboard and never ranked in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class PublishedRow:
    """``success`` in percent."""

    name: str
    success: float
    note: str = ""


@dataclass(frozen=True)
class Published:
    """Figures of one source under one protocol of its own, shown beside the boards of ``beside``."""

    source: str
    url: str
    protocol: str
    beside: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@cache
def published() -> tuple[Published, ...]:
    """All published figures of ``references.yaml``."""
    blocks = yaml.safe_load((resources.files(__package__) / "references.yaml").read_text())
    return tuple(
        Published(
            block["source"],
            block["url"],
            block["protocol"],
            tuple(block["beside"]),
            tuple(PublishedRow(row["name"], float(row["success"]), row.get("note", "")) for row in block["rows"]),
        )
        for block in blocks
    )


def published_beside(protocol: str) -> list[Published]:
    """Those that belong beside the board of ``protocol`` or of a variant of it."""
    return [block for block in published() if protocol.partition("~")[0] in block.beside]
