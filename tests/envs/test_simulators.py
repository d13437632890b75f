"""One table of the real simulators, by the names of their tasks."""

from __future__ import annotations

import pytest

from sfvgen_plan.benchmarks.protocols import protocol_names
from sfvgen_plan.envs.simulators import MEMORY, METAWORLD, RLBENCH, SIMULATORS, simulator_of
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize(
    ("task", "simulator", "name"),
    [
        ("reach-v3", METAWORLD, "reach-v3"),
        ("metaworld/reach-v3", METAWORLD, "reach-v3"),
        ("memory/return", MEMORY, "memory/return"),
        ("rlbench/return", RLBENCH, "rlbench/return"),
        ("rlbench/open_drawer", RLBENCH, "rlbench/open_drawer"),
    ],
)
def test_a_name_says_where_its_task_is_played(task: str, simulator: object, name: str) -> None:
    assert simulator_of(task) is simulator
    assert simulator_of(task).canonical(task) == name


@pytest.mark.parametrize("task", ["open_drawer", "memory/open_drawer", "rlbench/reach-v3", "nowhere/reach-v3"])
def test_tasks_of_no_simulator_are_refused(task: str) -> None:
    with pytest.raises(UserError, match="is unknown"):
        simulator_of(task).canonical(task)


def test_suites_are_protocols_of_full_names() -> None:
    for simulator in SIMULATORS:
        assert set(simulator.suites) <= set(protocol_names())
        assert all(simulator.canonical(task) == task for tasks in simulator.suites.values() for task in tasks)
