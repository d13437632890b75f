"""Small checkpoints whose every weight counts, one for each kind of memory."""

from functools import cache

import pytest
import torch

from sfvgen_plan.model.checkpoint import load_checkpoint, save_checkpoint

SIZES = ("dim", "depth", "heads", "window", "conditioning", "squeezed")


@pytest.fixture(scope="session")
def checkpoint_with(small_checkpoint, make_pipeline, tmp_path_factory):
    """Function that gives a loaded checkpoint with memory layers of a kind: "lora", "recall" or "none"."""
    small = load_checkpoint(small_checkpoint)
    sizes = {name: small.pipeline.transformer.config[name] for name in SIZES}

    @cache
    def of(kind):
        memory = {} if kind == "none" else {"memory": kind, "memory_blocks": [1], "memory_rank": 8}
        pipeline = make_pipeline(transformer={**sizes, **memory})
        for parameter in pipeline.transformer.parameters():
            if not parameter.any():  # training begins with layers that change nothing
                torch.nn.init.normal_(parameter, std=0.1)
        folder = tmp_path_factory.mktemp("small") / kind
        save_checkpoint(folder, pipeline, small.card, small.starts)
        return load_checkpoint(folder)

    return of


@pytest.fixture(scope="session")
def checkpoint(checkpoint_with):
    """Without memory layers."""
    return checkpoint_with("none")


@pytest.fixture(scope="session")
def remembering(checkpoint_with):
    """With a Temp-LoRA."""
    return checkpoint_with("lora")
