"""An untrained checkpoint: small, but complete and of the real frames' size."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKPOINT_TASKS = ("reach-v3", "drawer-close-v3")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a checkpoint that lists ``CHECKPOINT_TASKS``."""
    import torch

    from sfvgen_plan.envs.tasks import TASKS
    from sfvgen_plan.model.build import build_pipeline
    from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tasks = {task: TASKS[task].instruction for task in CHECKPOINT_TASKS}
    pipeline = build_pipeline(
        list(tasks.values()),
        autoencoder_widths=(8, 8, 8, 8, 8),
        latent_channels=4,
        unet_widths=(8, 8),
        head_dim=4,
        norm_groups=4,
        text_dim=16,
        heads_width=8,
        prior_width=8,
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    card = CheckpointCard(tasks, size=128, camera="corner4", repeat=5)
    save_checkpoint(folder, pipeline, card, {task: torch.zeros(1, 4, 8, 8) for task in tasks})
    return folder
