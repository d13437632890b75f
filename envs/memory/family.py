"""The memory tasks, and the family that they are (no simulator is imported here)."""

from __future__ import annotations

from sfvgen_plan.envs import sawyer
from sfvgen_plan.envs.family import Family
from sfvgen_plan.envs.memory import cue_task, return_task, revisit_task

TASKS = {
    return_task.NAME: return_task.INSTRUCTION,
    revisit_task.NAME: revisit_task.INSTRUCTION,
    cue_task.NAME: cue_task.INSTRUCTION,
}
"""Task name -> instruction."""

OWN_CAMERA = "own"
"""Stands for each task's own view: the carried camera for ``memory/revisit``, the side camera for the others. Data,
checkpoint or protocol of several tasks names it."""

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
    expert="sfvgen_plan.agents.memory_expert:MemoryExpert",
    examine="sfvgen_plan.envs.rendering:examine",
    drawing="sfvgen_plan.envs.rendering:gl_backend",
)
