"""What other libraries expect of every real environment."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import sfvgen_plan.envs  # noqa: F401 - registers the environments
from sfvgen_plan.errors import UserError

TASKS = {
    "sfvgen/Metaworld-v0": ("push-v3", "peg-insert-side-v3"),
    "sfvgen/Memory-v0": ("memory/return", "memory/revisit"),
    "sfvgen/RLBench-v0": ("rlbench/reach_target", "rlbench/return"),
}
EVERY = [(env_id, task) for env_id, tasks in TASKS.items() for task in tasks]
EXACT = [(env_id, task) for env_id, task in EVERY if "RLBench" not in env_id]

pytestmark = pytest.mark.usefixtures("fake_rlbench")


def structure(value: Any) -> Any:
    """Keys, types and shapes; of texts the type alone."""
    if isinstance(value, dict):
        return {key: structure(part) for key, part in value.items()}
    return (type(value), value.shape, value.dtype) if isinstance(value, np.ndarray) else type(value)


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_info_has_one_structure_after_reset_and_step_in_every_scene(env_id: str, task: str) -> None:
    env = gym.make(env_id, task=task, size=16)
    infos = [env.reset(seed=seed)[1] for seed in range(6)]
    infos += [env.step(env.action_space.sample())[4] for _ in range(2)]
    env.close()
    assert all(structure(info) == structure(infos[0]) for info in infos)


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_they_stand_side_by_side_and_are_cut_off_where_gymnasium_is_told(env_id: str, task: str) -> None:
    envs = gym.make_vec(env_id, 2, task=task, size=16, max_episode_steps=2)
    _, info = envs.reset(seed=[0, 3])
    assert info["state"].shape[0] == 2
    truncated = [envs.step(envs.action_space.sample())[3].tolist() for _ in range(2)]
    envs.close()
    assert truncated == [[False, False], [True, True]]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize(("env_id", "task"), EXACT)
def test_a_copy_goes_on_exactly_like_the_original(env_id: str, task: str, pixels: bool, copied: Any) -> None:
    env = gym.make(env_id, task=task, size=16, pixels=pixels)
    fresh = copied(env)
    np.testing.assert_array_equal(env.reset(seed=4)[0], fresh.reset(seed=4)[0])
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)
    for action in actions[:3]:
        env.step(action)
    other = copied(env)
    for action in actions[3:]:
        (frame, reward, _, _, info), (again, same, _, _, told) = env.step(action), other.step(action)
        np.testing.assert_array_equal(frame, again)
        np.testing.assert_array_equal(info["state"], told["state"])
        assert reward == same
    np.testing.assert_array_equal(env.reset()[1]["state"], other.reset()[1]["state"])
    env.close()
    other.close()


@pytest.mark.parametrize("task", TASKS["sfvgen/RLBench-v0"])
def test_a_simulator_in_another_process_is_not_copied(task: str) -> None:
    env = gym.make("sfvgen/RLBench-v0", task=task, size=16)
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(UserError, match=f"task={task!r}.*can't be copied.*make another environment"):
            copied(env.unwrapped)


def test_gymnasiums_own_processes_draw_or_say_how_they_would() -> None:
    code = """
import gymnasium as gym, sfvgen_plan.envs
if __name__ == "__main__":
    arguments = {"task": "reach-v3", "size": 16, "vectorization_mode": "async"}
    first = gym.make_vec("sfvgen/Metaworld-v0", 2, **arguments)
    print(first.reset(seed=0)[0].std() > 0)
    first.close()
    here = gym.make("sfvgen/Metaworld-v0", task="reach-v3", size=16)
    here.reset(seed=0)
    for context in ("spawn", "fork"):
        other = gym.make_vec("sfvgen/Metaworld-v0", 2, **arguments, vector_kwargs={"context": context})
        try:
            print(other.reset(seed=0)[0].std() > 0)
        except Exception as error:
            print(type(error).__name__, "'context': 'spawn'" in str(error))
        other.close(terminate=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:3] == ["True", "True", "UserError True"], done.stderr
