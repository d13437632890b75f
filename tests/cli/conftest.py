"""An untrained checkpoint: small, but complete and of the real frames' size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKPOINT_TASKS = ("reach-v3", "drawer-close-v3")


@pytest.fixture(scope="session")
def untrained_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function that saves one for tasks (name -> instruction) with a card of these further facts; its folder."""
    import torch

    from sfvgen_plan.envs.sawyer import READOUTS
    from sfvgen_plan.model.build import build_pipeline
    from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint

    def save(tasks: dict[str, str], **facts: Any) -> Path:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        usual: dict[str, Any] = {"raw_steps_per_second": 80, "reward_scale": 10.0, "readouts": list(READOUTS)}
        card = CheckpointCard(tasks, size=128, **usual | facts)
        pipeline = build_pipeline(
            list(tasks.values()),
            action_dim=card.action_dim,
            readouts=len(card.readouts),
            autoencoder_widths=(8, 8, 8, 8, 8),
            latent_channels=4,
            text_dim=16,
            cameras=card.frame_shape[0] // card.size,
            transformer={"dim": 32, "depth": 2, "heads": 2, "window": 3, "conditioning": 16, "squeezed": 4},
        )
        folder = tmp_path_factory.mktemp("checkpoint")
        save_checkpoint(
            folder, pipeline, card, {task: torch.zeros(1, 4, card.frame_shape[0] // 16, 8) for task in tasks}
        )
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_checkpoint(untrained_checkpoint: Callable[..., Path]) -> Path:
    """Folder of a checkpoint that lists ``CHECKPOINT_TASKS``."""
    from sfvgen_plan.envs.metaworld.family import TASKS

    tasks = {task: TASKS[task] for task in CHECKPOINT_TASKS}
    return untrained_checkpoint(tasks, camera="corner4", repeat=5)
