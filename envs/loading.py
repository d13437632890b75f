"""Checkpoints for environments: given by folder, by None, or loaded already."""

from pathlib import Path

import torch

from sfvgen_plan.devices import resolve_device
from sfvgen_plan.envs.forks import wake_torch
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint, load_checkpoint


def load_on(checkpoint: str | Path | Checkpoint | None, device: str = "auto") -> Checkpoint:
    """The checkpoint, loaded on ``device``; one that is loaded already stays where it is. Raises UserError: an unusable
    device, one other than the loaded checkpoint's, a missing or damaged checkpoint, a GPU in a process forked from one
    with torch."""
    chosen = resolve_device(device)
    wake_torch(chosen)
    if not isinstance(checkpoint, Checkpoint):
        return load_checkpoint(checkpoint, chosen)
    there = checkpoint.pipeline.device
    if device != "auto" and torch.empty(0, device=chosen).device != torch.empty(0, device=there).device:
        raise UserError(f"device={device!r}, but the checkpoint was loaded on '{there}'; leave device='auto'")
    return checkpoint
