"""Stable-Baselines3's view of the imagined environments."""

import json
import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor

from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.sb3 import CheckpointVecEnv, ImaginedVecEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError

SCALE = 0.5


@pytest.fixture
def make(checkpoint):
    def build(num_envs=2, **arguments):
        settings = {"obs_mode": "state", "autoreset_mode": "SameStep", **arguments}
        return ImaginedVecEnv(ImaginedVectorEnv(num_envs, "reach-v3", checkpoint, **settings), SCALE)

    return build


@pytest.mark.parametrize("obs_mode", ["pixels", "state"])
def test_the_checker_has_nothing_to_complain_about(checkpoint, obs_mode):
    env = ImaginedEnv("reach-v3", checkpoint, obs_mode=obs_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="The minimal resolution for an image")  # this model's is 32
        check_env(env)


def played_alike(ours, theirs, decisions):
    """Play both, whose observations, rewards and ends must be the same; yields each lane's infos of every decision."""
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    for env in (ours, theirs):
        env.seed(FIRST_TRAINING_SEED)
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-4, atol=1e-4)
    for action in np.random.default_rng(0).uniform(-1, 1, (decisions, 2, 4)).astype(np.float32):
        *mine, told = ours.step(action)
        seen, rewards, ends, wanted = theirs.step(action)
        for one, other in zip(mine, (seen, SCALE * rewards, ends), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        yield from zip(told, wanted, strict=True)


def test_does_what_their_own_does_with_single_ones(make, checkpoint):
    """Observations, rewards, ends, terminal observations and info keys, past autoresets."""
    single = {"obs_mode": "state", "max_decisions": 3}
    theirs = DummyVecEnv([lambda: ImaginedEnv("reach-v3", checkpoint, **single)] * 2)
    ours = make(max_decisions=3)
    for told, wanted in played_alike(ours, theirs, 8):
        assert told.keys() == wanted.keys()
        for key in wanted:
            np.testing.assert_allclose(told[key], wanted[key], rtol=1e-4, atol=1e-4)
    assert [row.keys() for row in ours.reset_infos] == [row.keys() for row in theirs.reset_infos]


def test_an_agent_learns_saves_and_acts_in_it(make, tmp_path):
    env = VecMonitor(VecCheckNan(make(obs_mode="pixels", max_decisions=4), raise_exception=True))
    arguments = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "device": "cpu", "seed": 0}
    model = PPO("MlpPolicy", env, **arguments)  # their convolutions would need 36 pixels
    before = [p.clone() for p in model.policy.parameters()]
    model.set_logger(configure(str(tmp_path), ["json"]))
    model.learn(32)
    assert len(model.ep_success_buffer) == 8  # two environments that ended four times
    told = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert told[-1]["rollout/success_rate"] == np.mean(model.ep_success_buffer)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    model.save(tmp_path / "agent")
    loaded = PPO.load(tmp_path / "agent", device="cpu")
    mean, _ = evaluate_policy(loaded, env, n_eval_episodes=2, warn=False)
    assert np.isfinite(mean)


def test_methods_and_attributes(make):
    env = make(3, obs_mode="pixels")
    env.reset()
    assert env.get_attr("render_mode") == ["rgb_array"] * 3
    assert env.get_attr("task", [0]) == ["reach-v3"]
    assert [frame.shape for frame in env.get_images()] == [(32, 32, 3)] * 3
    assert len(env.env_method("render", indices=[1, 2])) == 2
    assert env.env_is_wrapped(gym.Wrapper) == [False] * 3
    env.set_attr("remark", "for all")
    assert env.get_attr("remark") == ["for all"] * 3
    env.close()


def test_what_would_mislead_an_algorithm_is_refused(make):
    with pytest.raises(UserError, match=r"autoreset_mode='NextStep'.*SameStep"):
        make(autoreset_mode="NextStep")
    env = make()
    env.set_options([{}, {"frames": np.zeros((32, 32, 3), np.uint8)}])
    with pytest.raises(UserError, match="options differ"):
        env.reset()


def test_real_environments_are_seen_through_a_checkpoint_in_one_batch(checkpoint, obs_mode="state"):
    """Observations, rewards, ends, terminal observations, past autoresets: as of single ones."""
    make, few = partial(gym.make, "sfvgen/Metaworld-v0", task="reach-v3"), {"size": 32, "max_decisions": 3}
    theirs = DummyVecEnv([partial(make, obs_mode=obs_mode, checkpoint=checkpoint, **few)] * 2)
    ours = CheckpointVecEnv(
        DummyVecEnv([partial(make, **few)] * 2), "reach-v3", Observer(checkpoint.simulator(), obs_mode), SCALE
    )
    for told, wanted in played_alike(ours, theirs, 5):
        assert "is_success" in told and ("terminal_observation" in told) == ("terminal_observation" in wanted)
        if "terminal_observation" in told:
            last = (told["terminal_observation"], wanted["terminal_observation"])
            np.testing.assert_allclose(*last, rtol=1e-4, atol=1e-4)
    for env in (ours, theirs):
        env.close()
