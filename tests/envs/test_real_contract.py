"""What other libraries expect of every real environment."""

import copy
import pickle
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sfvgen_plan.envs  # noqa: F401 - registers the environments
from sfvgen_plan.errors import UserError

TASKS = {
    "sfvgen/Metaworld-v0": ("push-v3", "peg-insert-side-v3"),
    "sfvgen/Goals-v0": ("goals/lift",),
    "sfvgen/Memory-v0": ("memory/return", "memory/revisit", "memory/cue"),
    "sfvgen/RLBench-v0": ("rlbench/reach_target", "rlbench/return"),
}
EVERY = [(env_id, task) for env_id, tasks in TASKS.items() for task in tasks]
NUMBERS = ("sfvgen/Metaworld-v0", "sfvgen/Goals-v0")
"""Environments whose ``info`` has no texts: every episode of a task has one instruction, and no sub-goals."""
EXACT = [(env_id, task) for env_id, task in EVERY if "RLBench" not in env_id]

pytestmark = pytest.mark.usefixtures("fake_rlbench")


def structure(value):
    """Keys, types and shapes; of texts the type alone."""
    if isinstance(value, dict):
        return {key: structure(part) for key, part in value.items()}
    return (type(value), value.shape, value.dtype) if isinstance(value, np.ndarray) else type(value)


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_info_has_one_structure_after_reset_and_step_in_every_scene(env_id, task):
    env = gym.make(env_id, task=task, size=16)
    infos = [env.reset(seed=seed)[1] for seed in range(6)]
    infos += [env.step(env.action_space.sample())[4] for _ in range(2)]
    env.close()
    assert all(structure(info) == structure(infos[0]) for info in infos)
    assert all(info["is_success"] is info["success_latched"] for info in infos)
    if env_id in NUMBERS:  # which libraries of tensors can take as they are
        assert str not in structure(infos[0]).values()


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_gymnasiums_checker_has_nothing_to_complain_about(env_id, task):
    env = gym.make(env_id, task=task, size=24)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    cameras = 2 if task.startswith("rlbench/") else 1
    assert env.observation_space == gym.spaces.Box(0, 255, (cameras * 24, 24, 3), np.uint8)
    assert np.array_equal(env.reset(seed=0)[0], env.render())
    env.close()


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_a_seed_decides_the_episode_whatever_came_before(env_id, task):
    env = gym.make(env_id, task=task, size=16)
    frame, info = env.reset(seed=5)
    others = [env.reset(seed=seed)[0] for seed in (6, 7)]
    for _ in range(3):
        env.step(env.action_space.sample())
    again, told = env.reset(seed=5)
    following = [env.reset()[0] for _ in range(2)]
    assert np.array_equal(frame, again) and np.array_equal(info["state"], told["state"])
    assert not any(np.array_equal(frame, other) for other in others)
    env.reset(seed=5)
    assert np.array_equal(following, [env.reset()[0] for _ in range(2)])
    assert not np.array_equal(*following)
    env.close()


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_bad_actions_are_refused_and_others_clipped(env_id, task):
    env = gym.make(env_id, task=task, size=16, pixels=False)
    frame, info = env.reset(seed=0)
    assert not frame.any()
    size = env.action_space.shape[0]
    for bad in (np.zeros(size - 1), np.zeros((1, size)), np.full(size, np.nan), np.full(size, np.inf), 1.0, "left"):
        with pytest.raises(UserError, match="action"):
            env.step(bad)
    with pytest.raises(UserError, match="action"):
        env.step([0, [1], *range(size - 2)])
    assert np.array_equal(env.unwrapped.state, info["state"]) and env.unwrapped.decisions == 0
    reached = []
    for scale in (1.0, 50.0):
        env.reset(seed=0)
        reached.append(env.step(scale * np.ones(size))[4]["state"])
    assert np.array_equal(*reached)
    env.close()


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"repeat": 0}, {"max_decisions": 0}, {"camera": "no"}, {"size": 2.5}]
)
@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_bad_arguments_are_refused(env_id, task, arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f"{name}="):
        gym.make(env_id, task=task, **arguments)


@pytest.mark.parametrize(("env_id", "task"), EXACT)
def test_snapshots_bring_the_moment_back_in_another_environment(env_id, task):
    first, other = (gym.make(env_id, task=task, size=16).unwrapped for _ in range(2))
    frame, _ = first.reset(seed=1)
    start = first.snapshot()
    actions = np.random.default_rng(0).uniform(-1, 1, (8, 4))
    for action in actions[:4]:
        first.step(action)
    snapshot = pickle.loads(pickle.dumps(first.snapshot()))

    def future(env):
        steps = [env.step(action) for action in actions[4:]]
        return [(seen.tobytes(), reward, info["state"].tolist()) for seen, reward, *_, info in steps]

    original = future(first)
    following = first.reset()[1]["state"]
    other.restore(snapshot)
    assert future(other) == original
    assert np.array_equal(other.reset()[1]["state"], following)
    other.restore(start)
    assert np.array_equal(other.render(), frame)
    for wrong, message in ((None, "NoneType"), (replace(start, task="other"), "is of task 'other'")):
        with pytest.raises(UserError, match=message):
            first.restore(wrong)
    first.close()
    other.close()


@pytest.mark.parametrize(("env_id", "task"), EVERY)
def test_they_stand_side_by_side_and_are_cut_off_where_gymnasium_is_told(env_id, task):
    envs = gym.make_vec(env_id, 2, task=task, size=16, max_episode_steps=2)
    _, info = envs.reset(seed=[0, 3])
    assert info["state"].shape[0] == 2
    truncated = [envs.step(envs.action_space.sample())[3].tolist() for _ in range(2)]
    envs.close()
    assert truncated == [[False, False], [True, True]]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize(("env_id", "task"), EXACT)
def test_a_copy_goes_on_exactly_like_the_original(env_id, task, pixels, copied):
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
def test_a_simulator_in_another_process_is_not_copied(task):
    env = gym.make("sfvgen/RLBench-v0", task=task, size=16)
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(UserError, match=f"task={task!r}.*can't be copied.*make another environment"):
            copied(env.unwrapped)
