"""One table of the real simulators, by the names of their tasks."""

from __future__ import annotations

import pytest

from sfvgen_plan.benchmarks.protocols import protocol_names
from sfvgen_plan.envs.simulators import (
    MEMORY,
    METAWORLD,
    RLBENCH,
    SIMULATORS,
    metaworld_task,
    simulator_of,
    task_names,
)
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("return", "memory/return, rlbench/return?"),
        ("reach_target", "rlbench/reach_target?"),
        ("reach_targt", "rlbench/reach_target,"),
        ("rlbench/reach_targt", "rlbench/reach_target,"),
        ("memory/retrun", "memory/return,"),
        ("reech-v3", "reach-v3,"),
    ],
)
def test_the_names_that_are_meant_are_said_in_full(name: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        simulator_of(name).canonical(name)
    assert f"task={name!r} is unknown; did you mean {meant}" in str(caught.value)
    assert all(task in task_names() for task in str(caught.value).partition("mean ")[2].rstrip("?").split(", "))


def test_what_is_for_metaworld_says_so() -> None:
    assert metaworld_task("metaworld/reach-v3", "play") == "reach-v3"
    with pytest.raises(UserError, match="task='memory/return' is one of the memory tasks, and play is for Metaworld's"):
        metaworld_task("memory/return", "play")
    with pytest.raises(UserError, match="task='rlbench/reach_targt' is unknown"):
        metaworld_task("rlbench/reach_targt", "play")


def test_every_full_name_is_its_own() -> None:
    names = task_names()
    assert len(names) == len(set(names)) == 162
    assert all(simulator_of(name).canonical(name) == name for name in names)


def test_suites_are_protocols_of_full_names() -> None:
    for simulator in SIMULATORS:
        assert set(simulator.suites) <= set(protocol_names())
        assert all(simulator.canonical(task) == task for tasks in simulator.suites.values() for task in tasks)
