"""Stable-Baselines3 policies as agents, and their training in imagination."""

import zipfile
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from points import PointMass, picture
from sb3_contrib import TQC, TRPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from sfvgen_plan.agents.adapters import PredictingAgent
from sfvgen_plan.agents.algorithms import Learner, TrainingSettings
from sfvgen_plan.agents.registry import make_agent, settings_of
from sfvgen_plan.agents.sb3 import ORIGIN, load_policy
from sfvgen_plan.agents.training import train, trusted
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.memory import cue_task
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.temp_lora import CHUNK
from sfvgen_plan.model.checkpoint import load_checkpoint

BOX = gym.spaces.Box(-1, 1, (4,), np.float32)
FEW = {
    "ppo": {"n_steps": 4, "batch_size": 8, "n_epochs": 1, "net_arch": [8]},
    "sac": {"learning_starts": 4, "batch_size": 4, "buffer_size": 100, "net_arch": [8]},
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
    assert agent.stats(0).plan_seconds > 0
    alone, pictures = make_agent(name, checkpoint), frames(3)  # an episode's own past is all that counts
    alone.reset([1], ["push-v3"], [1])
    np.testing.assert_allclose(actions[1:], alone.act([1], frames()[1:]), atol=1e-3)
    np.testing.assert_allclose(agent.act([0, 1], pictures[1:])[1:], alone.act([1], pictures[2:]), atol=1e-3)


def test_a_recurrent_policy_keeps_its_state_through_each_episode(checkpoint, tmp_path):
    space = ImaginedEnv("reach-v3", checkpoint, obs_mode="state").observation_space
    RecurrentPPO("MlpLstmPolicy", Blank(space, BOX), device="cpu").save(tmp_path / "model.zip")
    agent, calls = make_agent(f"sb3:{tmp_path / 'model.zip'}", checkpoint), []
    predict = agent.model.predict

    @wraps(predict)
    def noted(*given, **kept):
        answer = predict(*given, **kept)
        calls.append((bool(kept["episode_start"]), kept["state"], answer[1]))
        return answer

    agent.model.predict = noted
    agent.reset([0, 1], ["reach-v3"] * 2, [0, 1])
    for lanes in ([0], [0], [1, 0]):
        agent.act(lanes, np.concatenate([frames(1)] * len(lanes)))
    agent.reset([0], ["reach-v3"], [0])
    agent.act([0], frames(1))
    outside = PredictingAgent(agent.model)
    for _ in range(2):
        outside.act(np.zeros(space.shape, np.float32))
    assert [start for start, *_ in calls] == [True, False, True, False, True, True, False]
    lane = [calls[n] for n in (0, 1, 3)]
    assert all(later[1] is earlier[2] for earlier, later in pairwise(lane))
    assert calls[4][1] is None and calls[6][1] is calls[5][2]


@pytest.mark.parametrize("obs_mode", OBS_MODES)
def test_the_agent_sees_what_the_environment_shows(saved, small_checkpoint, obs_mode):
    """Real frames are followed as imagined ones are in training: what is seen depends on all that came before."""
    checkpoint = load_checkpoint(small_checkpoint)
    checkpoint.pipeline.transformer.register_to_config(context_noise=0.0)  # the seeds are not the same
    name = saved(PPO, obs_mode)
    agent, model = make_agent(name, checkpoint), load_policy(name.removeprefix("sb3:"))
    observer = Observer(checkpoint.simulator(), obs_mode)
    agent.reset([0], ["reach-v3"], [0])
    pictures = frames(3)
    state, acted = observer.begin(pictures[:1], ["reach-v3"]), None
    for decision, shown in enumerate(pictures):
        if acted is not None:
            state = observer.observe(state, shown[None], acted)
        observation = shown if obs_mode == "pixels" else observer.of(state)[0]
        if not decision and obs_mode != "pixels":
            env = ImaginedEnv("reach-v3", checkpoint, obs_mode=obs_mode)
            begun, _ = env.reset(seed=0, options={"frames": shown})
            np.testing.assert_allclose(begun, observation, atol=1e-4)
        acted = agent.act([0], shown[None])
        wanted, _ = model.predict(observation, deterministic=True)
        np.testing.assert_allclose(acted[0], wanted.clip(-1, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"action_space": gym.spaces.Box(-1, 1, (6,), np.float32)}, r"Box\(-1.0, 1.0, \(6,\).*Box\(-1.0, 1.0, \(4,\)"),
        ({"action_space": gym.spaces.Box(-2, 2, (4,), np.float32)}, r"Box\(-2.0, 2.0.*Box\(-1.0, 1.0"),
        ({"algorithm": DQN, "action_space": gym.spaces.Discrete(3)}, r"Discrete\(3\).*Box"),
        ({"observation_space": gym.spaces.Box(-20, 20, (7,), np.float32)}, r"\(7,\).*state \(12,\)"),
        ({"checkpoint": "0123456789ab"}, r"in checkpoint 0123456789ab, not in \w{12}"),
    ],
)
def test_models_for_something_else_are_refused_naming_both(saved, checkpoint, model, message):
    with pytest.raises(UserError, match=message):
        make_agent(saved(**model), checkpoint)
    make_agent(saved(checkpoint=checkpoint.hash), checkpoint)


@pytest.mark.parametrize("parts", [None, {"data": '{"what": 1}'}, {"readme": ""}])
def test_files_of_something_else_are_refused(checkpoint, tmp_path, parts):
    file = tmp_path / "other.zip"
    file.write_text("no zip")
    if parts is not None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in parts.items():
                archive.writestr(name, text)
    with pytest.raises(UserError, match="is no policy, damaged or"):
        make_agent(f"sb3:{file}", checkpoint)


def test_no_file_and_settings_are_refused(saved, checkpoint):
    with pytest.raises(UserError, match="names no file"):
        settings_of("sb3:nowhere.zip")
    with pytest.raises(UserError, match=r"'agent.greedy=True' names no setting; did you mean agent.memory"):
        make_agent(saved(), checkpoint, settings={"greedy": True})
    with pytest.raises(UserError, match=r"agent.memory=3: .* takes true or false"):
        make_agent(saved(), checkpoint, settings={"memory": 3})


def test_it_plays_cue_with_memory_and_without_and_hears_in_both_worlds_the_same(make_checkpoint, tmp_path):
    """In ``memory/cue`` every episode has the same sub-goals, so imagined episodes are told them as real ones are."""
    memory = {"dim": 16, "depth": 1, "memory": "lora", "memory_blocks": [0], "memory_rank": 8}
    texts = [text for text, _ in cue_task.SCHEDULE]
    cue = load_checkpoint(make_checkpoint({cue_task.NAME: "instruction"}, 0.2, memory, sub_goals=texts))
    file = train(tmp_path / "agent", short("ppo", decisions=8), cue_task.NAME, cue)
    env = ImaginedEnv(cue_task.NAME, cue)
    agents = {memory: make_agent(f"sb3:{file}", cue, settings={"memory": memory}) for memory in (True, False, None)}
    env.reset(seed=0)
    for agent in agents.values():
        agent.reset([0], [cue_task.NAME], [0])
    picture = frames(1)
    for decision in range(CHUNK + 3):  # a memory is read after a chunk
        expected = cue.simulator()._features([texts[decision >= cue_task.LIT]])
        assert torch.equal(env.state.text, expected)
        for agent in agents.values():
            acted = agent.act([0], picture)
            assert torch.equal(agent._joined.text, expected)
        env.step(acted[0])
    told = {memory: agent._joined.features for memory, agent in agents.items()}
    assert torch.equal(told[True], told[None]) and not torch.allclose(told[True], told[False])


def short(algo, **changes):
    return Learner(algo, TrainingSettings(**{"decisions": 16, "num_envs": 2, "horizon": 4} | changes), FEW[algo])


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_training_happens_in_imagination_alone(checkpoint, tmp_path, algorithm, monkeypatch):
    """No real environment is made, every decision comes from the denoiser, and the result plays."""
    monkeypatch.setattr(MetaworldEnv, "__init__", lambda *_, **__: pytest.fail("a real environment was made"))
    told = []
    out = train(
        tmp_path / "deep" / "mine", short(algorithm), "reach-v3", checkpoint,
        progress=lambda decisions, numbers: told.append((decisions, numbers)),
    )  # fmt: skip
    model = load_policy(out)
    seen = {"obs_mode": "state", "memory": None}
    assert getattr(model, ORIGIN) == {"checkpoint": checkpoint.hash, "task": "reach-v3", **seen}
    assert [decisions for decisions, _ in told] == list(range(2, 17, 2))
    assert told[-1][1].keys() == {"return", "success"}
    agent = make_agent(f"sb3:{out}", checkpoint)
    agent.reset([0], ["reach-v3"], [0])
    assert np.isfinite(agent.act([0], frames(1))).all()


def test_the_same_seed_trains_the_same_agent(checkpoint, tmp_path):
    parameters = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        file = train(tmp_path / name, short("ppo"), "reach-v3", checkpoint, seed)
        parameters.append(torch.cat([p.flatten() for p in load_policy(file).parameters()]))
    assert torch.equal(parameters[0], parameters[1])
    assert not torch.equal(parameters[0], parameters[2])


def test_an_agent_that_is_there_stays_and_another_training_is_refused_naming_both(checkpoint, tmp_path):
    own, what = short("ppo"), ("reach-v3", checkpoint)
    before = train(tmp_path, own, *what).stat().st_mtime_ns
    assert train(tmp_path, own, *what).stat().st_mtime_ns == before
    for message, other in (
        (r"has an agent with num_envs=2, not num_envs=4; give", short("ppo", num_envs=4)),
        (r"with algo='ppo',.* not algo='sac'", short("sac")),
        (r"algo.n_epochs=1, not algo.n_epochs=3", replace(own, numbers={**FEW["ppo"], "n_epochs": 3})),
    ):
        with pytest.raises(UserError, match=message):
            train(tmp_path, other, *what)
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(UserError, match=r"without readable train\.json"):
        train(tmp_path, own, *what)


LENGTH, EPISODES = 12, 8


@pytest.fixture
def episodes():
    """Random motion in the real point"""
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (EPISODES, LENGTH, 2)).astype(np.float32)
    begun = random.uniform(-0.5, 0.5, (EPISODES, 1, 2))
    goals = random.uniform(-0.5, 0.5, (EPISODES, 1, 2))
    places = np.concatenate([begun, begun + 0.2 * actions.cumsum(1)], axis=1)
    pictures = [picture(place, goals[e, 0]) for e in range(EPISODES) for place in places[e]]
    number = np.arange(EPISODES)
    return SimpleNamespace(
        frames=np.stack(pictures),
        episode_start=number * (LENGTH + 1),
        action_start=number * LENGTH,
        lengths=np.full(EPISODES, LENGTH),
        actions=actions.reshape(-1, 2),
        reward=(10 / (1 + np.linalg.norm(places[:, 1:] - goals, axis=-1))).ravel(),
        task=np.zeros(EPISODES, int),
        tasks=["point"],
        descriptions=[""] * EPISODES,
    )


def test_the_worse_the_simulator_the_shorter_it_is_trusted(episodes):
    def length(noise, longest=6):
        checkpoint = SimpleNamespace(simulator=lambda: PointMass(noise), told=lambda task, description: task)
        return trusted(checkpoint, episodes, longest)

    assert length(0.0) == 6 and length(0.0, 50) == LENGTH // 2
    assert 1 < length(0.1) < 6
    assert length(3.0) == 1
