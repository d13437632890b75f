"""Who is measured: checkpoints with their memory, and one without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

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
