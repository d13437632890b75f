"""What ``sfvgen-plan bench memory`` measures, part by part, of which subjects, and the rows: one of each subject and
episode. An empty cell could not be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.envs.memory import cue_task, return_task, revisit_task
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator


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
        revisit_task.NAME, "frames of places that were shown before", RevisitRow, "psnr_revisit_db", "dB of PSNR on {}"
    ),
    "drift": Part(
        revisit_task.NAME, "the last hundred of 1,000 imagined decisions", DriftRow, "psnr_db", "dB of PSNR in {}"
    ),
    "return": Part(return_task.NAME, "objects put back", PlayedRow, "distance_m", "metres from the objects' places"),
    "cue": Part(
        cue_task.NAME, "the block of the colour that was shown first", PlayedRow, "success_5cm",
        "points of success in going to {}",
    ),
}  # fmt: skip
"""By their names in files, ``memory_<part>.csv``; beside them is ``cost``."""


def rows_in(folder: Path, part: str) -> Rows[Any]:
    """The rows of a part."""
    kind: Any = CostRow if part == "cost" else PARTS[part].kind
    key = ("memory", "steps", "device") if part == "cost" else ("row", "episode")
    return Rows(folder / f"memory_{part}.csv", kind, key)


DECISIONS = 32  # of the video whose cost is measured
NO_MEMORY = "no_memory"
KINDS = {"recall": "recall", "lora": "temp_lora"}  # names of rows by the memory of a checkpoint's transformer
ROWS = (*KINDS.values(), NO_MEMORY)  # in the order of the tables; stored rows of other names are history

ABLATION = ("full", "no_temp_lora", "no_loop", "original_temp_lora", "no_local_rule", "no_chunk_input", "denoising")
"""Rows of the paper's ablation, in the order of its table; see ``memory.ablation``."""


class Subject(NamedTuple):
    """A row of the tables: a checkpoint that ``remembers`` or not, whatever it could do."""

    row: str
    checkpoint: Checkpoint
    remembers: bool

    def simulator(self, sampler_steps: int = 1, exact: bool = False) -> LearnedSimulator:
        return self.checkpoint.simulator(sampler_steps=sampler_steps, memory=self.remembers, exact=exact)

    def learning(self, episodes: int) -> None:
        """Nothing learns but its own memory layers."""

    @property
    def settings(self) -> dict[str, float]:
        """None of its own."""
        return {}


def subjects_of(checkpoints: Sequence[Checkpoint]) -> list[Subject]:
    """Each checkpoint with its memory, and one without memory, at last: that without memory layers, or the first.
    Raises UserError: two of one row, or of different frames."""
    found: dict[str, Subject] = {}
    for own in checkpoints:
        own.check_fits((), checkpoints[0], f"checkpoint {str(checkpoints[0].path)!r}", "give checkpoints of one kind")
        row = KINDS[own.pipeline.transformer.config.memory] if own.has_memory else NO_MEMORY
        if row in found:
            raise UserError(f"checkpoint={str(own.path)!r} is a second one of {row!r}; give one of each")
        found[row] = Subject(row, own, own.has_memory)
    found.setdefault(NO_MEMORY, Subject(NO_MEMORY, checkpoints[0], False))
    return [found[row] for row in ROWS if row in found]
