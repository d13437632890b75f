"""An environment that knows nothing of this package, with discrete actions and with numbers: from nothing to a score,
and its imagined twin."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

from sfvgen_plan.actions import Actions
from sfvgen_plan.cli import main
from sfvgen_plan.data.episodes import OWN, load_episodes
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.model.checkpoint import load_checkpoint

DISCRETE, NUMBERS = "gym:dot_env:Dot-v0", "gym:dot_env:DotBox-v0"


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory, request):
    """An empty folder to work in, and the module of the environment where every process finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("own"))
        patch.syspath_prepend(str(request.config.rootpath / "tests"))
        yield


@pytest.fixture(scope="module", params=[DISCRETE, NUMBERS])
def trained(request, place):
    """Task, dataset and checkpoint of frames of 32 pixels, two steps a decision."""
    kind = request.param.rpartition(":")[2]
    data, checkpoint = Path(kind), Path(f"{kind}-checkpoint")
    frames = ("--size", "32", "--repeat", "2", "--workers", "1")
    assert main(["collect", "--task", request.param, "--out", str(data), "--episodes", "8", *frames]) == 0
    assert main(["train", "--data", str(data), "--out", str(checkpoint), "train=tiny"]) == 0
    return request.param, data, checkpoint


@pytest.fixture
def checkpoint(trained):
    return load_checkpoint(trained[2])


def test_the_data_says_how_episodes_ended_and_the_best_are_imitated(trained):
    task, data, _ = trained
    episodes = load_episodes(data)
    assert (episodes.tasks, set(episodes.kind), episodes.repeat, episodes.size) == ([task], {"random"}, 2, 32)
    lasts = episodes.action_start + episodes.lengths - 1
    assert episodes.terminated is not None and 0 < episodes.terminated.sum() < len(episodes)
    np.testing.assert_array_equal(episodes.terminated, episodes.estimates[lasts + np.arange(len(lasts)) + 1, 0] == 0)
    assert episodes.source.reward_scale == np.abs(episodes.reward).max() > 1
    tensors = to_training_data(episodes, torch.device("cpu"))
    returns = [part.sum() for part in np.split(episodes.reward, episodes.action_start[1:])]
    best = episodes.episode_start[np.argmax(returns)]
    assert 0 < tensors.has_expert.float().mean() < 0.4 and bool(tensors.has_expert[best])  # the best are imitated
    ends = (episodes.episode_start + episodes.lengths)[episodes.terminated]
    assert tensors.terminated.nonzero().flatten().tolist() == ends.tolist()
    if task == DISCRETE:
        assert set(map(tuple, episodes.actions.tolist())) == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}


@pytest.mark.filterwarnings("ignore:.*symmetric")
def test_the_imagined_twin_has_the_same_spaces(trained, checkpoint):
    task, _, folder = trained
    frames = {"size": checkpoint.size, "repeat": checkpoint.repeat}
    real = gym.make("sfvgen_plan:sfvgen/Gym-v0", task=task, **frames)
    imagined = gym.make("sfvgen/Imagined-v0", task=task, checkpoint=folder)
    assert (imagined.action_space, imagined.observation_space) == (real.action_space, real.observation_space)
    check_env(imagined.unwrapped, skip_render_check=True)
    with pytest.raises(UserError, match="action"):
        imagined.unwrapped.step("left")


def test_imagined_episodes_end_where_the_model_says_so(trained, checkpoint):
    env = ImaginedEnv(trained[0], checkpoint)
    for at, ends in ((-99.0, False), (99.0, True)):
        with torch.no_grad():  # the model expects an end never, or after every decision
            checkpoint.pipeline.transformer.reader[-1].bias[2] = at
        env.reset(seed=0)
        assert env.step(env.action_space.sample())[2] is ends
        assert bool(env.get_state().ended[0]) is ends


def test_it_is_played_by_hand(trained, checkpoint):
    pytest.importorskip("gradio")
    from sfvgen_plan.envs.play import Session

    game = Session(trained[0], checkpoint, seed=1)
    names = {"0", "1", "2"} if trained[0] == DISCRETE else {"stay", "0-", "0+"}
    assert set(game.controls.buttons) == names and set(game.controls.keys.values()) == names
    left, right = ("0", "2") if trained[0] == DISCRETE else ("0-", "0+")
    game.move(right)
    before = game.frames[0]
    game.move(left)
    assert not np.array_equal(game.frames[0], before)
    while not game.over:  # the left end
        game.move(left)
    with pytest.raises(UserError, match="over"):
        game.move(left)
    game.close()


def test_agents_play_in_the_frames_of_the_checkpoint(trained, said):
    task, _, folder = trained
    few = ("agent.candidates=4", "agent.elites=2", "agent.horizon=2", "agent.iterations=1")
    protocols = set()
    for agent, settings in (("random", ()), ("prior", ()), ("cem", few)):
        words = ("--task", task, "--agent", agent, "--checkpoint", str(folder), "--episodes", "2")
        told = said("eval", *words, "--max-decisions", "4", "--out", f"{folder}-{agent}", *settings)
        assert [row["error"] for row in told["episodes"]] == [""] * 2
        protocols.add(told["protocol"])
    assert len(protocols) == 1 and f"{task}~" in protocols.pop()
    seen = said("imagine", "--task", task, "--checkpoint", str(folder), "--decisions", "3")  # at random
    assert seen["spans"][0]["first_decision"] == 1 and Path(seen["video"]).is_file()
    few = ("--task", task, "--checkpoint", str(folder), "--episodes", "2", "--max-decisions", "3")
    told = said("fidelity", *few, "--agent", "random", "--agent", "prior", "--out", f"{folder}-fidelity")
    assert [policy["real_reward"] != 0 for policy in told["policies"]] == [True, True]


def test_gradients_pass_the_choice_of_an_action(trained, checkpoint):
    simulator = checkpoint.simulator(exact=True)
    state = simulator.begin(np.zeros((1, 1, 32, 32, 3), np.uint8), [trained[0]], [0])
    actions = torch.full((1, 1, simulator.action_dim), 0.1, requires_grad=True)
    _, outcome = simulator.imagine(state, actions)
    outcome.reward.sum().backward()
    assert actions.grad is not None and actions.grad.abs().sum() > 0


def test_scripts_and_planners_play_episodes_to_learn_from(trained):
    task, _, folder = trained
    few = ("--task", task, "--episodes", "2", "--workers", "1", "--decisions", "4")
    for agent, more in (("dot_env:right", ()), ("prior", ("--checkpoint", str(folder)))):
        out = Path(f"{folder}-{agent.partition(':')[0]}-played")
        assert main(["collect", *few, "--agent", agent, "--out", str(out), *more]) == 0
        episodes = load_episodes(out)
        assert set(episodes.kind) == {OWN} and np.isnan(episodes.expert_actions).all()
        assert (episodes.size, episodes.repeat) == ((32, 2) if more else (64, 1))
        if not more:
            space = Actions(gym.make(task.removeprefix("gym:")).action_space)
            assert (episodes.actions == (space.inside(2) if space.discrete else space.inside([4.0]))).all()


def test_policies_that_were_trained_on_the_environment_itself_play_without_a_checkpoint(trained, refused):
    task, _, folder = trained
    own, out, agent = gym.make(task.removeprefix("gym:")), f"{folder}-beside", f"sb3:{folder}-own.zip"
    model = PPO("MlpPolicy", own, device="cpu")
    model.save(f"{folder}-own.zip")
    words = ("--agent", agent, "--episodes", "2")
    assert main(["collect", "--task", task, *words, "--decisions", "3", "--workers", "1", "--out", out]) == 0
    episodes = load_episodes(Path(out))
    seen = episodes.estimates[episodes.episode_start].astype(np.float64)
    acted = [Actions(own.action_space).inside(model.predict(one, deterministic=True)[0]) for one in seen]
    np.testing.assert_allclose(episodes.actions[episodes.action_start], acted, atol=1e-5)
    other = NUMBERS if task == DISCRETE else DISCRETE
    whose = {other: f"not those of task='{other}'", "reach-v3": "Metaworld has no own observations"}
    for elsewhere, message in whose.items():
        assert message in refused("eval", "--task", elsewhere, *words, "--lanes", "1")


@pytest.mark.parametrize("real", ["false", "true"])
def test_agents_of_stable_baselines_learn_with_the_environments_own_actions(trained, said, real, monkeypatch):
    task, _, folder = trained
    if task == DISCRETE:  # the other is played in several processes
        monkeypatch.setattr("sfvgen_plan.agents.training.cpu_cores", lambda: 1)
    few = ("num_envs=2", "decisions=8", "horizon=4", "algo.n_steps=4", "algo.batch_size=4", "algo.n_epochs=1")
    words = ("--task", task, "--checkpoint", str(folder), "--episodes", "1", "--out", f"{folder}-ppo-{real}")
    told = said("train-agent", *words, f"real={real}", *few)
    assert [row["error"] for row in told["episodes"]] == [""]
    assert PPO.load(f"{folder}-ppo-{real}/agent.zip").action_space == gym.make(task.removeprefix("gym:")).action_space
