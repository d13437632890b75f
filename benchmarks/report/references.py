"""Published figures, to be read beside a leaderboard and never ranked in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import TypeAdapter


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
def published() -> list[Published]:
    """All published figures of ``references.yaml``."""
    text = (resources.files(__package__) / "references.yaml").read_text()
    return TypeAdapter(list[Published]).validate_python(yaml.safe_load(text))


def published_beside(protocol: str) -> list[Published]:
    """Those that belong beside the board of ``protocol`` or of a variant of it."""
    return [block for block in published() if protocol.partition("~")[0] in block.beside]
