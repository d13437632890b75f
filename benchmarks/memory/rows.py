"""Rows of ``sfvgen-plan bench memory``: one of each subject and episode; an empty cell could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.results.files import Rows

REVISIT, DRIFT, RETURN, CUE, COST = (f"memory_{part}" for part in ("revisit", "drift", "return", "cue", "cost"))
"""Names of the files."""


@dataclass(frozen=True)
class RevisitRow:
    """Frames of places that were shown, imagined against true ones: means; cuts of the whole video."""

    row: str
    episode: int
    psnr_revisit_db: float
    cosine_revisit: float
    scene_cuts: int | None = None


@dataclass(frozen=True)
class DriftRow:
    """The last hundred decisions of a long dream, those of them that show a place that was shown, and the first
    hundred: mean PSNR."""

    row: str
    episode: int
    psnr_db: float
    psnr_seen_db: float | None = None
    psnr_begin_db: float | None = None


@dataclass(frozen=True)
class PlayedRow:
    """An agent's episode, at its end. In return the mean over objects, metres from the earlier place, where one that
    was never moved away counts with what it should have been moved, and whether every object was moved and is back
    within 5 cm; in cue from the hand to the right block, to the side."""

    row: str
    episode: int
    distance_m: float
    success_5cm: bool


@dataclass(frozen=True)
class CostRow:
    """One subject at so many sampler ``steps``: ``seconds`` of a video, what an episode keeps as its memory, however
    long it is, and the most memory on a GPU while the video is made, both in 10**6 bytes; the last can't be told on a
    CPU."""

    steps: int
    memory: str
    seconds: float
    episode_mb: float = 0.0
    peak_mb: float | None = None
    device: str = ""


KINDS = {REVISIT: RevisitRow, DRIFT: DriftRow, RETURN: PlayedRow, CUE: PlayedRow}


def rows_in(folder: Path, name: str) -> Rows[Any]:
    """The rows of a file."""
    if name == COST:
        return Rows(folder / f"{COST}.csv", CostRow, ("memory", "steps", "device"))
    return Rows(folder / f"{name}.csv", KINDS[name], ("row", "episode"))
