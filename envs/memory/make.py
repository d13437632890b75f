"""One environment id for both memory tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.memory import cue_task, return_task, revisit_task
from sfvgen_plan.envs.memory.base import MemoryEnv
from sfvgen_plan.envs.memory.cue_env import MemoryCueEnv
from sfvgen_plan.envs.memory.family import FAMILY, OWN_CAMERA
from sfvgen_plan.envs.memory.return_env import MemoryReturnEnv
from sfvgen_plan.envs.memory.revisit_env import MemoryRevisitEnv
from sfvgen_plan.envs.real import observed

KINDS: dict[str, Callable[..., MemoryEnv]] = {
    return_task.NAME: MemoryReturnEnv,
    revisit_task.NAME: MemoryRevisitEnv,
    cue_task.NAME: MemoryCueEnv,
}


def make_memory(task: str, **arguments: Any) -> gym.Env[np.ndarray, np.ndarray]:
    """``sfvgen/Memory-v0``: one of ``KINDS``, or what a checkpoint makes of its frames;
    see ``observed``.

    Args:
        task: with or without the "memory/" prefix.
        arguments: of the environments and of ``observed``. The camera "own" is each task's default.

    Raises:
        UserError: unknown task, and what the environments refuse.
    """

    def make(task: str, camera: str = OWN_CAMERA, **others: Any) -> MemoryEnv:
        own = {} if camera == OWN_CAMERA else {"camera": camera}
        return KINDS[FAMILY.canonical(task)](**own, **others)

    return observed(make, task, **arguments)
