"""Small checkpoints whose every weight counts, one for each kind of memory."""

from functools import cache

import pytest

from sfvgen_plan.model.checkpoint import load_checkpoint


@pytest.fixture(scope="session")
def checkpoint_with(make_checkpoint):
    """Function that gives a loaded checkpoint with memory layers of a kind, "lora" or "recall"; "none": without, and
    "ends": without, of tasks that end by themselves."""

    @cache
    def of(kind):
        memory = {"memory": kind, "memory_blocks": [1], "memory_rank": 8} if kind in ("lora", "recall") else {}
        return load_checkpoint(make_checkpoint(std=0.2, transformer=memory, terminates=kind == "ends"))

    return of


@pytest.fixture(scope="session")
def checkpoint(checkpoint_with):
    """Without memory layers."""
    return checkpoint_with("none")


@pytest.fixture(scope="session")
def remembering(checkpoint_with):
    """With a Temp-LoRA."""
    return checkpoint_with("lora")
