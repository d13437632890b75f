"""What the parts of an episode are called. The texts alone: no place, no path, no simulator."""

import numpy as np

from sfvgen_plan.envs.memory import cue_task, return_task, revisit_task
from sfvgen_plan.envs.memory.parts import Schedule
from sfvgen_plan.errors import unknown_name

RLBENCH_RETURN = f"rlbench/{return_task.NAME.split('/')[1]}"
TASKS = (return_task.NAME, revisit_task.NAME, cue_task.NAME, RLBENCH_RETURN)  # tasks that have sub-goals

ALWAYS: dict[str, Schedule] = {cue_task.NAME: cue_task.SCHEDULE}
"""Those of them whose sub-goals are the same in every episode, so that imagined episodes are told them, too."""


def sub_goals_of(task: str, seed: int, repeat: int = 5) -> Schedule:
    """What ``info["sub_goals"]`` says in the episode of ``seed``.

    Args:
        task: one of ``TASKS``.
        seed: that the environment is reset with.
        repeat: raw steps per decision.

    Raises:
        UserError: a task without sub-goals.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if task in ALWAYS:
        return ALWAYS[task]
    if task == revisit_task.NAME:
        return revisit_task.layout_of(seed, repeat).schedule
    workspace = return_task.WORKSPACE
    if task == RLBENCH_RETURN:
        from sfvgen_plan.envs.rlbench.return_env import WORKSPACE as workspace
    return return_task.draw_layout(np.random.default_rng(seed), workspace).schedule
