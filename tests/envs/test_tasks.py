"""Names, instructions and suites."""

import subprocess
import sys

import pytest

from sfvgen_plan.envs.tasks import SUITES, TASKS, canonical
from sfvgen_plan.errors import UserError


def test_every_metaworld_task_is_listed():
    from metaworld.policies import ENV_POLICY_MAP

    assert set(TASKS) == set(ENV_POLICY_MAP)


def test_every_task_has_its_own_instruction():
    instructions = [task.instruction for task in TASKS.values()]
    assert all(instructions)
    assert len(set(instructions)) == len(TASKS)


def test_suites_name_known_tasks():
    assert len(SUITES["metaworld-10"]) == 10
    assert all(task in TASKS for suite in SUITES.values() for task in suite)


@pytest.mark.parametrize("name", ["reach-v3", "metaworld/reach-v3"])
def test_both_spellings_of_a_task_are_the_same(name):
    assert canonical(name) == "reach-v3"


def test_unknown_task_names_the_nearest():
    for name in ("reech-v3", "metaworld/reech-v3"):
        with pytest.raises(UserError, match=rf"task='{name}'.*did you mean reach-v3"):
            canonical(name)


def test_names_need_no_simulator():
    code = "import sys, sfvgen_plan.envs.tasks; sys.exit(bool({'mujoco', 'metaworld', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
