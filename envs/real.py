"""Real environments behind the observations that a checkpoint makes of their frames.

Imports torch only where a checkpoint is needed, so that processes which only render stay small.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.family import resolve
from sfvgen_plan.errors import UserError, unknown_name

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint

OBS_MODES = ("pixels", "latent", "state")
"""What an agent may be shown, of an imagined task and of a real one; see ``sfvgen_plan.envs.observation``."""


def make_real(
    task: str,
    kind: str,
    obs_mode: str = "pixels",
    checkpoint: str | Path | Checkpoint | None = None,
    device: str = "auto",
    exact: bool = False,
    **arguments: Any,
) -> gym.Env[np.ndarray, Any]:
    """What ``gym.make`` calls for every real environment: ``kind`` ("module:attribute", see
    ``sfvgen_plan.registration``) of task and arguments, behind a ``CheckpointObservation`` unless ``obs_mode`` is
    "pixels", which needs no checkpoint. In other modes size, camera and repeat default to the checkpoint's. ``exact``:
    compute in float32 even where bfloat16 is faster. Raises UserError: what ``kind`` refuses, an unknown mode, a
    checkpoint for other tasks or frames, what ``load_on`` refuses."""
    make = resolve(kind)
    if obs_mode == "pixels":
        return make(task, **arguments)
    if obs_mode not in OBS_MODES:
        raise unknown_name("obs_mode", obs_mode, OBS_MODES)
    if not arguments.get("pixels", True):
        raise UserError(f"pixels=False leaves nothing to compute obs_mode={obs_mode!r} from; leave pixels out")
    from sfvgen_plan.envs.observation import CheckpointObservation, load_on

    loaded = load_on(checkpoint, device)
    return CheckpointObservation(make(task, **{**loaded.frames, **arguments}), loaded, obs_mode, exact)
