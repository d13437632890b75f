"""Names and suites of RLBench's tasks."""

from __future__ import annotations

import pytest

from sfvgen_plan.envs.rlbench.tasks import FORK_ONLY, MADE, SHAPED, SUITES, TASKS, canonical
from sfvgen_plan.errors import UserError


def test_there_are_106_upstream_tasks_and_three_of_the_fork():
    assert len(TASKS - set(FORK_ONLY)) == 106
    assert set(SHAPED) < TASKS
    assert not TASKS.intersection(MADE)
    assert all(set(tasks) < TASKS.union(MADE) for tasks in SUITES.values())
    assert {name: len(tasks) for name, tasks in SUITES.items()} == {
        "rlbench-data": 10,
        "rlbench-wiw4": 4,
        "rlbench-18": 18,
        "rlbench-return": 1,
    }


def test_names_with_and_without_prefix_are_the_same():
    assert canonical("reach_target") == canonical("rlbench/reach_target") == "rlbench/reach_target"
    with pytest.raises(UserError, match="did you mean rlbench/close_box,"):
        canonical("rlbench/close_boxx")
