"""Names, instructions and suite of the memory tasks, and one environment id for both (imports no simulator)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.memory import return_task, revisit_task
from sfvgen_plan.errors import unknown_name

PREFIX = "memory/"

TASKS: dict[str, str] = {
    return_task.NAME: return_task.INSTRUCTION,
    revisit_task.NAME: revisit_task.INSTRUCTION,
}
"""Task name -> instruction."""

SUITES: dict[str, tuple[str, ...]] = {"memory": tuple(TASKS)}

OWN_CAMERA = "own"
"""Stands for each task's own view: the side camera for ``memory/return``, the carried one for ``memory/revisit``. Data,
checkpoint or protocol of both tasks names it."""

LONGEST = 200
"""Most decisions of an episode; its layout says how many it has (return 60 to 150, revisit 40 to 200)."""


def canonical(name: str) -> str:
    """The full task name: both "return" and "memory/return" give "memory/return".

    Raises:
        UserError: there is no such task; the message lists the nearest names.
    """
    name = str(name)  # None or a number is told of as any other unknown name
    full = PREFIX + name.removeprefix(PREFIX)
    if full not in TASKS:
        raise unknown_name("task", name, TASKS)
    return full


def make_memory(
    task: str, camera: str = OWN_CAMERA, max_decisions: int | None = None, **arguments: Any
) -> gym.Env[np.ndarray, np.ndarray]:
    """``sfvgen/Memory-v0``: a ``MemoryReturnEnv`` or a ``MemoryRevisitEnv``.

    Args:
        task: with or without the "memory/" prefix.
        camera: of the task's environment; "own" is its default.
        max_decisions: truncates earlier than the task does; None leaves that to the task.
        arguments: the rest, see the environments.

    Raises:
        UserError: unknown task, and what the environments refuse.
    """
    from sfvgen_plan.envs.memory.return_env import MemoryReturnEnv
    from sfvgen_plan.envs.memory.revisit_env import MemoryRevisitEnv

    if camera != OWN_CAMERA:
        arguments["camera"] = camera
    kinds: dict[str, type[MemoryReturnEnv] | type[MemoryRevisitEnv]] = {
        return_task.NAME: MemoryReturnEnv,
        revisit_task.NAME: MemoryRevisitEnv,
    }
    env = kinds[canonical(task)](**arguments)
    return env if max_decisions is None else gym.wrappers.TimeLimit(env, max_decisions)
