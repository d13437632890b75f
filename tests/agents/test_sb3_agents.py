"""Stable-Baselines3 policies as agents, and their training in imagination."""

import json
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TQC, TRPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from sfvgen_plan.agents.adapters import LanesOfAgents
from sfvgen_plan.agents.algorithms import TrainingSettings
from sfvgen_plan.agents.registry import acts_on_env, check_agent, make_agent, needs_checkpoint
from sfvgen_plan.agents.sb3 import ORIGIN, load_policy
from sfvgen_plan.agents.training import train
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
BOX = gym.spaces.Box(-1, 1, (4,), np.float32)
FEW = {
    "ppo": {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "net_arch": [8]},
    "sac": {"learning_starts": 4, "batch_size": 4, "buffer_size": 100, "net_arch": [8]},
    "td3": {"learning_starts": 4, "batch_size": 4, "buffer_size": 100, "net_arch": [8], "noise": 0.1},
}


class Blank(gym.Env):
    """Spaces, and nothing more."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture
def saved(checkpoint, tmp_path):
    """Saves an untrained model for the observations of a mode; the name of its agent."""

    def save(algorithm=PPO, obs_mode="state", action_space=BOX, observation_space=None, **marks):
        if observation_space is None:
            observation_space = ImaginedEnv("reach-v3", checkpoint, obs_mode=obs_mode).observation_space
        arguments = {"buffer_size": 10} if algorithm not in (PPO, A2C, TRPO) else {}
        model = algorithm("MlpPolicy", Blank(observation_space, action_space), device="cpu", **arguments)
        setattr(model, ORIGIN, marks)
        model.save(tmp_path / "model.zip")
        return f"sb3:{tmp_path / 'model.zip'}"

    return save


def frames(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("algorithm", [PPO, A2C, SAC, TD3, DDPG, TQC, TRPO])
def test_a_zip_of_any_algorithm_acts(saved, checkpoint, algorithm):
    name = saved(algorithm)
    agent = make_agent(name, checkpoint)
    agent.reset([0, 1], ["reach-v3", "push-v3"], [0, 1])
    actions = agent.act([0, 1], frames())
    assert (actions.shape, actions.dtype) == ((2, 4), np.float32)
    assert np.abs(actions).max() <= 1
    np.testing.assert_allclose(actions[:1], _first(name, checkpoint, [0], frames()[:1]), atol=1e-3)
    assert agent.stats(0).plan_seconds > 0


def _first(name, checkpoint, lanes, pictures):
    agent = make_agent(name, checkpoint)
    agent.reset(lanes, ["reach-v3"], [0])
    return agent.act(lanes, pictures)


def test_a_recurrent_policy_keeps_its_state_through_each_episode(checkpoint, tmp_path):
    space = ImaginedEnv("reach-v3", checkpoint, obs_mode="state").observation_space
    model = RecurrentPPO("MlpLstmPolicy", Blank(space, BOX), device="cpu")
    torch.manual_seed(0)
    for parameter in model.policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save(tmp_path / "model.zip")
    agent, picture = make_agent(f"sb3:{tmp_path / 'model.zip'}", checkpoint), frames(1)
    agent.reset([0, 1], ["reach-v3"] * 2, [0, 1])
    seen = agent._observer.of_real(np.stack([picture, picture], axis=1), ["reach-v3"])[0]
    state = None
    for start in (True, False, False):
        wanted, state = model.predict(seen, state=state, episode_start=np.array([start]), deterministic=True)
        acted = agent.act([0], picture)[0]
        np.testing.assert_allclose(acted, wanted.clip(-1, 1), atol=1e-3)
    both = agent.act([1, 0], np.concatenate([picture, picture]))
    agent.reset([0], ["reach-v3"], [0])
    again = agent.act([0], picture)[0]
    np.testing.assert_allclose(again, both[0], atol=1e-3)  # an episode's first decision
    assert not np.allclose(both[1], again, atol=1e-2)
    outside = LanesOfAgents(lambda: model)
    outside.reset([0], ["reach-v3"], [0])
    first, second = (outside.act([0], seen[None])[0] for _ in range(2))
    np.testing.assert_allclose(first, again, atol=1e-3)
    np.testing.assert_allclose(second, model.predict(seen, *_after(model, seen), deterministic=True)[0].clip(-1, 1))


def _after(model, seen):
    """State after one decision, and that it is not the episode's first."""
    return model.predict(seen, episode_start=np.array([True]), deterministic=True)[1], np.array([False])


@pytest.mark.parametrize("obs_mode", OBS_MODES)
def test_the_agent_sees_what_the_environment_shows(saved, checkpoint, obs_mode):
    """On given frames it acts as the model does on the observation that an imagined episode begins with there."""
    name = saved(PPO, obs_mode)
    agent = make_agent(name, checkpoint)
    picture = frames(1)
    agent.reset([0], ["reach-v3"], [0])
    acted = agent.act([0], picture)[0]
    if obs_mode == "pixels":
        observation = picture[0]
    else:
        env = ImaginedEnv("reach-v3", checkpoint, obs_mode=obs_mode)
        observation, _ = env.reset(seed=0, options={"frames": picture[0]})
    model = load_policy(name.removeprefix("sb3:"))
    wanted, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(acted, wanted, atol=1e-3)


def test_lanes_have_their_own_past(saved, checkpoint):
    name, pictures = saved(), frames(3)
    together, alone = make_agent(name, checkpoint), make_agent(name, checkpoint)
    together.reset([0, 1], ["reach-v3"] * 2, [0, 1])
    alone.reset([1], ["reach-v3"], [1])
    for n in (1, 2):
        both = together.act([0, 1], np.stack([pictures[0], pictures[n]]))
        np.testing.assert_allclose(both[1:], alone.act([1], pictures[n : n + 1]), atol=1e-3)


def test_only_what_sees_through_a_checkpoint_needs_one(saved):
    assert needs_checkpoint(saved(obs_mode="state"))
    assert not needs_checkpoint(saved(obs_mode="pixels"))
    assert not acts_on_env(saved())


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Box(-1, 1, (6,), np.float32), gym.spaces.Box(-2, 2, (4,), np.float32)],
)
def test_other_action_spaces_are_refused_naming_both(saved, checkpoint, space):
    with pytest.raises(UserError) as caught:
        make_agent(saved(action_space=space), checkpoint)
    assert str(space) in str(caught.value)
    assert str(BOX) in str(caught.value)


def test_discrete_actions_are_refused(saved, checkpoint):
    with pytest.raises(UserError, match=r"Discrete\(3\).*Box"):
        make_agent(saved(DQN, action_space=gym.spaces.Discrete(3)), checkpoint)


def test_other_observations_are_refused_naming_both(saved, checkpoint):
    odd = gym.spaces.Box(-1, 1, (7,), np.float32)
    with pytest.raises(UserError, match=r"\(7,\).*state \(12,\)"):
        make_agent(saved(observation_space=odd), checkpoint)
    wide = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    agent = make_agent(saved(observation_space=wide), checkpoint)
    agent.reset([0], ["reach-v3"], [0])
    with pytest.raises(UserError, match=r"64, 64.*32, 32"):
        agent.act([0], frames(1))


def test_another_checkpoint_is_refused_naming_both(saved, checkpoint):
    make_agent(saved(checkpoint=checkpoint.hash), checkpoint)
    with pytest.raises(UserError, match=rf"0123456789ab.*{checkpoint.hash}"):
        make_agent(saved(checkpoint="0123456789ab"), checkpoint)


def test_files_of_something_else_are_refused(checkpoint, saved, tmp_path):
    with pytest.raises(UserError, match="names no file"):
        check_agent("sb3:nowhere.zip")
    text = tmp_path / "text.zip"
    text.write_text("no zip")
    with pytest.raises(UserError, match="can't be read"):
        make_agent(f"sb3:{text}", checkpoint)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", json.dumps({"what": 1}))
    with pytest.raises(UserError, match="no algorithm known"):
        make_agent(f"sb3:{tmp_path / 'other.zip'}", checkpoint)
    strange = {"clip_range": 0.2, "policy_class": {"__module__": "sb3_contrib.common.maskable.policies"}}
    with zipfile.ZipFile(tmp_path / "masked.zip", "w") as archive:
        archive.writestr("data", json.dumps(strange))
    with pytest.raises(UserError, match=r"no algorithm known.*RecurrentPPO"):
        make_agent(f"sb3:{tmp_path / 'masked.zip'}", checkpoint)
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(UserError, match="no algorithm known"):
        make_agent(f"sb3:{tmp_path / 'empty.zip'}", checkpoint)
    PPO("MlpPolicy", Blank(BOX, BOX), device="cpu").save(tmp_path / "whole.zip")
    with zipfile.ZipFile(tmp_path / "whole.zip") as whole, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        part.writestr("data", whole.read("data"))
    with pytest.raises(UserError, match="is damaged"):
        make_agent(f"sb3:{tmp_path / 'part.zip'}", checkpoint)
    with pytest.raises(UserError, match=r"no settings.*agent\.greedy"):
        make_agent(saved(), checkpoint, settings={"greedy": True})


SHORT = TrainingSettings(decisions=16, num_envs=2, horizon=4, sampler_steps=1, futures=2, uncertainty_penalty=0.5)


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3"])
def test_training_happens_in_imagination_alone(checkpoint, tmp_path, algorithm, monkeypatch):
    """No real environment is made, every decision comes from the denoiser, and the result plays."""
    from sfvgen_plan.envs.metaworld.env import MetaworldEnv

    monkeypatch.setattr(MetaworldEnv, "__init__", lambda *_, **__: pytest.fail("a real environment was made"))
    told = []
    out = train(
        tmp_path / "deep" / "mine", algorithm, "reach-v3", checkpoint, SHORT, FEW[algorithm],
        progress=lambda decisions, numbers: told.append((decisions, numbers)),
    )  # fmt: skip
    model = load_policy(out)
    assert getattr(model, ORIGIN) == {"checkpoint": checkpoint.hash, "task": "reach-v3", "obs_mode": "state"}
    assert [decisions for decisions, _ in told] == list(range(2, 17, 2))
    assert told[-1][1].keys() == {"return", "success"}
    agent = make_agent(f"sb3:{out}", checkpoint)
    agent.reset([0], ["reach-v3"], [0])
    assert np.isfinite(agent.act([0], frames(1))).all()


def test_the_same_seed_trains_the_same_agent(checkpoint, tmp_path):
    parameters = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        file = train(tmp_path / name, "ppo", "reach-v3", checkpoint, SHORT, FEW["ppo"], seed)
        parameters.append(torch.cat([p.flatten() for p in load_policy(file).policy.parameters()]))
    assert torch.equal(parameters[0], parameters[1])
    assert not torch.equal(parameters[0], parameters[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decisions": 0}, "decisions=0"),
        ({"save_every": -1}, "save_every=-1"),
        ({"num_envs": 0}, "num_envs=0"),
        ({"reward_scale": float("nan")}, "reward_scale=nan"),
        ({"uncertainty_penalty": 1.0}, "uncertainty_penalty=1"),
        ({"algo": "pppo"}, r"algo='pppo'.*ppo"),
        ({"clip": 0.2}, r"algo='ppo'.*clip"),
    ],
)
def test_bad_numbers_are_refused_and_leave_nothing(checkpoint, tmp_path, settings, message):
    algorithm, own = settings.pop("algo", "ppo"), {key: settings.pop(key) for key in ("clip",) if key in settings}
    with pytest.raises(UserError, match=message):
        train(tmp_path / "mine", algorithm, "reach-v3", checkpoint, TrainingSettings(**settings), own)
    assert not list(tmp_path.iterdir())
