"""The memory tasks, and the family that they are (no simulator is imported here)."""

from typing import Any

from sfvgen_plan.envs import sawyer
from sfvgen_plan.envs.family import Family
from sfvgen_plan.envs.memory.cue_task import MemoryCueEnv
from sfvgen_plan.envs.memory.env import OWN_CAMERA, MemoryEnv
from sfvgen_plan.envs.memory.return_task import MemoryReturnEnv
from sfvgen_plan.envs.memory.revisit_task import MemoryRevisitEnv

KINDS: dict[str, type[MemoryEnv]] = {kind.name: kind for kind in (MemoryReturnEnv, MemoryRevisitEnv, MemoryCueEnv)}
TASKS = {task: kind.instruction for task, kind in KINDS.items()}  # task name -> instruction

LONGEST = 200
"""Most decisions of an episode; its layout says how many it has (return 60 to 150, revisit 40 to 200, cue 60)."""

FAMILY = Family(
    name="memory",
    title="the memory tasks",
    env_id="sfvgen/Memory-v0",
    version="metaworld 3.1.1",
    tasks=TASKS,
    source=sawyer.SOURCE,
    action_dim=sawyer.ACTION_SIZE,
    layout=sawyer.LAYOUT,
    camera=OWN_CAMERA,
    repeat=5,
    decisions=LONGEST,
    expert="sfvgen_plan.agents.sawyer_experts:MemoryExpert",
    examine="sfvgen_plan.envs.rendering:examine",
    drawing="sfvgen_plan.envs.rendering:gl_backend",
)


def memory_env(task: str, **arguments: Any) -> MemoryEnv:
    """The environment of a task, with or without the "memory/" prefix; see ``KINDS`` for the arguments."""
    return KINDS[FAMILY.canonical(task)](**arguments)
