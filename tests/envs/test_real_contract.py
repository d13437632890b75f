"""What other libraries, and the rest of this one, expect of every real environment."""

import copy
import pickle
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError

COPIED = ["push-v3", "goals/lift", "memory/return", "memory/revisit", "memory/cue"]
OTHERS = ["rlbench/reach_target", "rlbench/return", "gym:dot_env:DotBox-v0"]
"""They can't be copied, as they are another process, or somebody else's."""
AWKWARD = ("door-lock-v3", "drawer-open-v3", "basketball-v3", "peg-insert-side-v3", "coffee-button-v3")
"""Attributes that alias simulation memory, moved bodies, contact from the start, several objects."""


def made(task, **arguments):
    return gym.make(family_of(task).env_id, task=task, **{"size": 16, **arguments})


@pytest.fixture(scope="module", params=[*COPIED, *OTHERS])
def env(request, fake_rlbench_for_all):
    """One of each for all contracts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(request.config.rootpath / "tests"))
        env = made(request.param, pixels=request.param not in AWKWARD)
        yield env
    env.close()
    env.close()


def structure(value):
    """Keys, types and shapes; of texts the type alone."""
    if isinstance(value, dict):
        return {key: structure(part) for key, part in value.items()}
    return (type(value), value.shape, value.dtype) if isinstance(value, np.ndarray) else type(value)


def test_gymnasiums_checker_has_nothing_to_complain_about(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*symmetric and normalized")
        check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
    cameras = 2 if env.unwrapped.task.startswith("rlbench/") else 1
    assert env.observation_space == gym.spaces.Box(0, 255, (cameras * 16, 16, 3), np.uint8)
    assert np.array_equal(env.reset(seed=0)[0], env.render())


def test_a_seed_decides_the_episode_and_info_has_one_structure(env):
    frame, info = env.reset(seed=5)
    other, another = env.reset(seed=6)
    told = [info, another, *(env.step(env.action_space.sample())[4] for _ in range(2))]
    again, same = env.reset(seed=5)
    following = [env.reset()[0] for _ in range(2)]
    assert np.array_equal(frame, again) and np.array_equal(info["state"], same["state"])
    assert not np.array_equal(frame, other)
    env.reset(seed=5)
    assert np.array_equal(following, [env.reset()[0] for _ in range(2)])
    assert not np.array_equal(*following)
    assert all(structure(one) == structure(info) for one in told)
    assert all(one["is_success"] is one["success_latched"] for one in told)
    if env.unwrapped.task in ("push-v3", "goals/lift"):  # which libraries of tensors can take as they are
        assert str not in structure(info).values()


def test_bad_actions_are_refused_and_others_clipped(env):
    _, info = env.reset(seed=0)
    size = env.action_space.shape[0]
    for bad in (np.zeros(size + 1), np.zeros((1, size)), np.full(size, np.nan), np.full(size, np.inf), 1.0, "left"):
        with pytest.raises(UserError, match="action"):
            env.step(bad)
    with pytest.raises(UserError, match="action"):
        env.step([0, [1], *range(size - 2)])
    assert np.array_equal(env.unwrapped.state, info["state"]) and env.unwrapped.decisions == 0
    reached = []
    for scale in (1.0, 50.0):
        env.reset(seed=0)
        reached.append(env.step(scale * env.action_space.high)[4]["state"])
    assert np.array_equal(*reached)


@pytest.mark.parametrize("task", ["push-v3", "memory/cue", "rlbench/reach_target", "rlbench/return"])
def test_bad_arguments_are_refused(task):
    for arguments in ({"size": 0}, {"repeat": 0}, {"max_decisions": 0}, {"camera": "no"}, {"size": 2.5}):
        (name,) = arguments
        with pytest.raises(UserError, match=f"{name}="):
            made(task, **arguments)


def future(env, seed=0):
    """What some decisions lead to, and the episode after this one."""
    steps = [env.step(action) for action in np.random.default_rng(seed).uniform(-1, 1, (8, 4))]
    told = [(seen.tobytes(), reward, info["state"].tolist()) for seen, reward, *_, info in steps]
    return [*told, env.reset()[1]["state"].tolist()]


@pytest.mark.parametrize("env", [*COPIED, *AWKWARD], indirect=True)
def test_snapshots_and_copies_go_on_exactly_like_the_original(env):
    real: Any = env.unwrapped
    frame, _ = real.reset(seed=1)
    start = real.snapshot()
    for action in np.random.default_rng(1).uniform(-1, 1, (3, 4)):
        real.step(action)
    moment, copied = pickle.loads(pickle.dumps((real.snapshot(), env)))
    wanted = future(real)
    assert future(copied.unwrapped) == wanted
    real.restore(moment)
    assert future(real) == wanted
    copied.unwrapped.restore(start)
    assert not real.pixels or np.array_equal(copied.unwrapped.render(), frame)
    for wrong, message in ((None, "NoneType"), (replace(start, task="other"), "is of task 'other'")):
        with pytest.raises(UserError, match=message):
            real.restore(wrong)
    copied.close()


@pytest.mark.parametrize("env", OTHERS, indirect=True)
def test_other_simulators_are_not_copied(env):
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(UserError, match=r"task=.*can't be copied.*make another environment"):
            copied(env.unwrapped)


def test_episodes_begin_with_a_reset_and_are_cut_off_and_can_go_on():
    env: Any = made("push-v3", pixels=False, max_decisions=2, repeat=1).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(4))
    assert not env.reset(seed=0)[0].any()
    assert [env.step(np.zeros(4))[2:4] for _ in range(3)] == [(False, False), (False, True), (False, True)]
