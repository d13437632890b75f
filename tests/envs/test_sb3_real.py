"""Real environments in processes, seen through a checkpoint in one batch, beside Stable-Baselines3's own way."""

import multiprocessing
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from odd import refused
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from sfvgen_plan.agents import training
from sfvgen_plan.agents.algorithms import TrainingSettings
from sfvgen_plan.agents.training import environments
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.metaworld.env import MetaworldEnv, make_metaworld
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3_real import CheckpointVecEnv, RealVecEnv
from sfvgen_plan.errors import UserError

torch.set_num_threads(1)
MAKE = partial(MetaworldEnv, "reach-v3", size=32, max_decisions=3)


@pytest.mark.parametrize(("obs_mode", "processes"), [("state", 2), ("latent", 1), ("pixels", 1)])
def test_does_what_their_own_does_with_single_ones(remembering, obs_mode, processes):
    """Observations, rewards, ends, terminal observations and infos, past autoresets; three in two processes."""
    single = partial(make_metaworld, "reach-v3", obs_mode=obs_mode, checkpoint=remembering, size=32, max_decisions=3)
    theirs = DummyVecEnv([single] * 3)
    ours = RealVecEnv(MAKE, 3, processes, reward_scale=0.5)
    if obs_mode != "pixels":
        ours = CheckpointVecEnv(ours, "reach-v3", Observer(remembering.simulator(), obs_mode))
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    for env in (ours, theirs):
        env.seed(FIRST_TRAINING_SEED)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-4, atol=1e-4)
    assert_same(ours.unwrapped.reset_infos, theirs.reset_infos)
    for action in np.random.default_rng(0).uniform(-1, 1, (7, 3, 4)).astype(np.float32):
        seen, rewards, dones, infos = ours.step(action)
        wanted, rewarded, ended, told = theirs.step(action)
        assert (seen.dtype, rewards.dtype, dones.dtype) == (wanted.dtype, rewarded.dtype, ended.dtype)
        np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(rewards, 0.5 * rewarded, rtol=1e-6)
        np.testing.assert_array_equal(dones, ended)
        assert_same(infos, told)
        assert_same(ours.unwrapped.reset_infos, theirs.reset_infos)
    for env in (ours, theirs):
        env.close()


def assert_same(infos, wanted):
    for row, other in zip(infos, wanted, strict=True):
        row = dict(row)
        assert ("is_success" in row) == ("terminal_observation" in row)
        assert row.pop("is_success", row["success_latched"]) == row["success_latched"]
        assert row.keys() == other.keys()
        for key, value in other.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(row[key], value, rtol=1e-4, atol=1e-4)
            else:
                assert row[key] == value


def test_agents_learn_in_it(checkpoint, monkeypatch):
    monkeypatch.setattr(training, "cpu_cores", lambda: 1)
    env = VecMonitor(environments(TrainingSettings(real=True, num_envs=2, horizon=3), "metaworld/reach-v3", checkpoint))
    model = SAC("MlpPolicy", env, learning_starts=4, batch_size=4, device="cpu", buffer_size=100)
    model.learn(14)
    stored = model.replay_buffer
    assert stored.timeouts[: stored.pos].sum() == 4  # two environments that ended twice, both by truncation
    assert env.get_attr("max_decisions") == [3, 3]
    env.set_attr("max_decisions", 5, indices=[1])
    assert env.get_attr("max_decisions") == [3, 5]
    assert [frame.shape for frame in env.get_images()] == [(32, 32, 3)] * 2
    assert env.env_is_wrapped(VecMonitor) == [False, False]
    env.close()
    env.close()


def test_what_goes_wrong_is_told_and_leaves_no_process():
    with pytest.raises(UserError, match="odd=3"):
        RealVecEnv(refused, 2, 2)
    env = RealVecEnv(partial(gym.make, "Pendulum-v1"), 2, 2)
    with pytest.raises(RuntimeError, match="AttributeError"):
        env.env_method("fly")
    env.close()
    assert not multiprocessing.active_children()
