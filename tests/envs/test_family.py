"""Simulator families: whose task a name is, and what a family says of itself."""

import subprocess
import sys
from itertools import product

import gymnasium as gym
import numpy as np
import pytest

from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.envs import family as registry
from sfvgen_plan.envs.family import canonical, families, family, family_of, resolve, task_names
from sfvgen_plan.envs.memory import revisit_task
from sfvgen_plan.envs.memory.family import memory_env
from sfvgen_plan.envs.metaworld.family import TASKS as METAWORLD
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize(
    ("task", "name", "full"),
    [
        ("reach-v3", "metaworld", "reach-v3"),
        ("metaworld/reach-v3", "metaworld", "reach-v3"),
        ("memory/return", "memory", "memory/return"),
        ("rlbench/return", "rlbench", "rlbench/return"),
        ("rlbench/open_drawer", "rlbench", "rlbench/open_drawer"),
    ],
)
def test_a_name_says_where_its_task_is_played(task, name, full):
    assert family_of(task) is family(name)
    assert canonical(task) == full


def test_tasks_of_no_simulator_are_refused_and_the_names_that_are_meant_said_in_full():
    for task in ("open_drawer", "memory/open_drawer", "rlbench/reach-v3", "nowhere/reach-v3", None, 3):
        with pytest.raises(UserError, match="is unknown"):
            family_of(task)
    for name, task in product(("Metaworld", "RLBench", "Memory"), (3, None)):
        with pytest.raises(UserError, match=f"^task='{task}' is unknown; did you mean "):
            gym.make(f"sfvgen_plan.envs:sfvgen/{name}-v0", task=task)
    for name, meant in {
        "return": "memory/return, rlbench/return?",
        "reach_targt": "rlbench/reach_target,",
        "rlbench/reach_targt": "rlbench/reach_target,",
        "memory/retrun": "memory/return?",
        "metaworld/reech-v3": "reach-v3,",
    }.items():
        with pytest.raises(UserError) as caught:
            canonical(name)
        assert f"task={name!r} is unknown; did you mean {meant}" in str(caught.value)
        assert all(task in task_names() for task in str(caught.value).partition("mean ")[2].rstrip("?").split(", "))


def test_every_full_name_is_its_own_and_has_an_instruction_and_protocols_play_those():
    names = task_names()
    assert len(names) == len(set(names)) == 168
    assert all(canonical(name) == name for name in names)
    assert all(family_of(name).tasks[name] for name in names)
    assert len(set(METAWORLD.values())) == len(METAWORLD)
    for protocol in map(load_protocol, protocol_names()):
        assert set(protocol.tasks) <= set(names)
        assert {family_of(task).env_id for task in protocol.tasks} == {protocol.env_id}


@pytest.mark.parametrize("item", families(), ids=lambda item: item.name)
def test_whatever_a_family_names_is_there(item):
    for entry in (item.expert, item.play, item.true_simulator, item.examine):
        assert not entry or callable(resolve(entry))
    assert set(item.unplayed) <= set(item.tasks)
    assert len(item.source.readouts) == len(set(item.source.readouts))


def test_names_need_no_simulator():
    code = (
        "import sys, sfvgen_plan.envs.family as f; f.task_names(); "
        "sys.exit(bool({'mujoco', 'metaworld', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_modules_that_cannot_be_imported_are_said(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)  # a module in the current folder is found
    for name in ("no_such_module", "broken_module"):
        monkeypatch.setenv(registry.VARIABLE, name)
        with pytest.raises(UserError, match=f"SFVGEN_FAMILIES='{name}': {name} can't be imported"):
            families()


def test_the_texts_of_a_way_say_where_it_leads():
    env = memory_env(revisit_task.NAME, pixels=False)
    for seed in range(5):
        env.reset(seed=seed)
        start = 0
        for text, decisions in env.layout.schedule:
            shift = env.layout.places[start + decisions] - env.layout.places[start]
            start += decisions
            if text == revisit_task.COME_BACK:
                assert np.allclose(env.layout.places[start], env.layout.places[0])
            else:
                direction = np.array(revisit_task.DIRECTIONS[text.removeprefix("look ")])
                assert shift @ direction == pytest.approx(np.abs(shift).max(), abs=1e-6)


def test_to_the_right_is_right_in_the_picture():
    """Moving the camera to the right moves what it sees to the left."""
    env = memory_env(revisit_task.NAME, size=64)
    before, _ = env.reset(seed=0)
    right = np.array([*revisit_task.DIRECTIONS["to the right"], 0, -1], np.float32)
    after = env.step(right)[0]
    env.close()
    columns = before.astype(float).mean((0, 2)), after.astype(float).mean((0, 2))
    errors = {shift: np.abs(columns[0][8 + shift : 56 + shift] - columns[1][8:56]).mean() for shift in range(-8, 9)}
    assert min(errors, key=errors.get) > 0
