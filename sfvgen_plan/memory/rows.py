"""The rows of the paper's ablation: what each does to the memory, to the clean frames and to the slow-fast loop.

Each is one file ``configs/row/<name>.yaml``, so that training and evaluation mean the same by a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfvgen_plan.errors import unknown_name

if TYPE_CHECKING:
    from sfvgen_plan.memory.learning import FastLearning
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

ROWS = ("full", "no_loop", "no_temp_lora", "original_temp_lora", "no_local_rule", "no_chunk_input")
"""In the order of the tables."""


@dataclass(frozen=True)
class MemoryRow:
    """One row.

    Attributes:
        name: one of ``ROWS``; settings that were changed by hand keep it.
        fast_learning: hyperparameters of the memory, None where the row has none.
        context_frames: clean frames that a chunk is generated from; None: as many as the checkpoint was trained with.
        loop_memory: whether the slow-fast loop trains the denoiser beside the frozen memory. Where it does not, the
            loop trains on the same chunks without one, so that rows differ in nothing but the memory.
    """

    name: str
    fast_learning: FastLearning | None
    context_frames: int | None
    loop_memory: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> MemoryRow:
        """The row of these settings, those of a file in ``configs/row``."""
        from sfvgen_plan.memory.learning import FastLearning

        learning = settings["fast_learning"]
        if learning is not None:
            learning = FastLearning(**{**learning, "targets": tuple(learning["targets"])})
        return cls(settings["name"], learning, settings["context_frames"], settings["loop_memory"])


def row_of(name: str) -> MemoryRow:
    """The row of that name, one of ``ROWS``.

    Raises:
        UserError: no such row.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    import sfvgen_plan.configs

    if name not in ROWS:
        raise unknown_name("row", name, ROWS)
    folder = Path(sfvgen_plan.configs.__path__[0]).resolve() / "row"
    with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        settings: Any = OmegaConf.to_container(compose(name), resolve=True)
    return MemoryRow.of(settings)


def memory_of_row(name: str) -> FastLearning | None:
    """Hyperparameters of the row's memory, as ``Checkpoint.simulator(memory=...)`` takes them; None for no memory.

    Raises:
        UserError: no such row.
    """
    return row_of(name).fast_learning


def simulator_of_row(
    checkpoint: Checkpoint, name: str, sampler_steps: int = 3, exact: bool = False
) -> LearnedSimulator:
    """The checkpoint's simulator with the row's memory and its number of clean frames.

    Raises:
        UserError: no such row.
    """
    row = row_of(name)
    return checkpoint.simulator(sampler_steps, row.fast_learning, exact, row.context_frames)
