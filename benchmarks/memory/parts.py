"""What ``sfvgen-plan bench memory`` measures, part by part, and the rows of each: one of each subject and episode. An
empty cell could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.envs.memory import cue_task, return_task, revisit_task


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


class Part(NamedTuple):
    """One of them: the task, the rows, and the column whose difference to no memory is told in these words."""

    task: str
    title: str
    kind: type
    column: str
    difference: str


PARTS = {
    "revisit": Part(
        revisit_task.NAME,
        "frames of places that were shown before",
        RevisitRow,
        "psnr_revisit_db",
        "dB of PSNR on frames of places that were shown before",
    ),
    "drift": Part(
        revisit_task.NAME,
        "the last hundred of 1,000 imagined decisions",
        DriftRow,
        "psnr_db",
        "dB of PSNR in the last hundred of 1,000 imagined decisions",
    ),
    "return": Part(
        return_task.NAME, "objects put back", PlayedRow, "distance_m", "metres from the objects' places"
    ),
    "cue": Part(
        cue_task.NAME,
        "the block of the colour that was shown first",
        PlayedRow,
        "success_5cm",
        "points of success in going to the block of the colour that was shown first",
    ),
}  # fmt: skip
"""By their names in files, ``memory_<part>.csv``; beside them is ``cost``."""


def rows_in(folder: Path, part: str) -> Rows[Any]:
    """The rows of a part."""
    kind: Any = CostRow if part == "cost" else PARTS[part].kind
    key = ("memory", "steps", "device") if part == "cost" else ("row", "episode")
    return Rows(folder / f"memory_{part}.csv", kind, key)
