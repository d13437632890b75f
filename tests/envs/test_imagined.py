"""The imagined environment: spaces, seeds, start frames, memory, bad input."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

ACTION = np.array([0.1, -0.7, 0.3, 1.0], np.float32)


@pytest.fixture
def make(checkpoint):
    return lambda task="reach-v3", **arguments: ImaginedEnv(task, checkpoint, **arguments)


def play(env, seed, decisions=4, **options):
    """Frames (T + 1, H, W, 3), rewards and infos of an episode under fixed actions."""
    frame, info = env.reset(seed=seed, **options)
    frames, rewards, infos = [frame], [], [info]
    for action in np.random.default_rng(0).uniform(-1, 1, (decisions, 4)):
        frame, reward, _, _, info = env.step(action)
        frames.append(frame)
        rewards.append(reward)
        infos.append(info)
    return np.stack(frames), rewards, infos


def test_spaces_and_info_are_those_of_the_real_task(make):
    env, real = make(), MetaworldEnv("reach-v3", size=32, pixels=False)
    assert (env.observation_space, env.action_space) == (real.observation_space, real.action_space)
    assert env.metadata["render_fps"] == real.metadata["render_fps"]
    frames, _, infos = play(env, 0, decisions=1)
    assert frames[1] in env.observation_space
    assert np.array_equal(frames[1], env.render())
    known = set(real.reset(seed=0)[1]) - {"state"}
    assert all(known <= set(info) for info in infos)


def test_a_decision_is_what_the_simulator_imagines(make, checkpoint):
    env = make(sampler_steps=2)
    env.reset(seed=1)
    simulator = checkpoint.simulator(sampler_steps=2)
    state = simulator.begin_latents(checkpoint.starts["reach-v3"][1][None, None], ["reach-v3"], [1])
    _, outcome = simulator.imagine(state, torch.tensor(ACTION)[None, None])
    frame, reward, terminated, truncated, info = env.step(ACTION)
    assert np.array_equal(frame, simulator.decode(outcome.latents)[0, 0])
    assert (reward, info["value"]) == (outcome.reward.item(), outcome.value.item())
    assert info["success_probability"] == outcome.success.item()
    assert info["success"] is (outcome.success.item() > 0.5)
    assert np.array_equal(info["estimates"], outcome.estimates[0, 0].numpy())
    assert (info["estimates"].shape, info["estimates"].dtype) == ((10,), np.float32)
    assert env.instruction == checkpoint.card.tasks["reach-v3"]
    assert (terminated, truncated) == (False, False)


def test_seeds_go_through_the_start_frames_and_have_other_futures(make):
    env = make()
    zero, one, two, again = (play(env, seed, decisions=1)[0] for seed in (0, 1, 2, 0))
    assert np.array_equal(zero, again)
    assert np.array_equal(zero[0], two[0]) and not np.array_equal(zero[0], one[0])
    assert not np.array_equal(zero[1], two[1])
    assert env.reset(seed=2**70 + 1)[0] in env.observation_space
    env = make(max_decisions=2)
    env.reset(seed=0)
    assert [env.step(np.zeros(4))[3] for _ in range(3)] == [False, True, True], "it can go on"


def test_without_a_seed_the_sequence_goes_on(make):
    def noise_of(env):
        env.reset(seed=3)
        return [env.reset() and int(env.state.seed) for _ in range(3)]

    sequence = noise_of(make())
    assert sequence == noise_of(make()) and len(set(sequence)) == 3


def test_starts_from_given_frames(make, checkpoint):
    env, simulator = make(), checkpoint.simulator()
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    first, _ = env.reset(seed=0, options={"frames": frames})
    state = simulator.begin(frames[None], ["reach-v3"], [0])
    assert torch.equal(env.state.features, state.features)
    assert np.array_equal(first, simulator.decode(state.latents)[0])
    alone, _ = env.reset(seed=0, options={"frames": frames[2]})
    assert np.abs(alone.astype(int) - first).max() <= 1  # encoded in another batch


def test_success_is_latched(checkpoint):
    own = load_checkpoint(checkpoint.path)
    env = ImaginedEnv("reach-v3", own)
    chances = np.array([info["success_probability"] for info in play(env, 0, decisions=12)[2]])
    with torch.no_grad():  # so that half of the decisions are solved
        own.pipeline.transformer.reader[-1].bias[1] -= float(np.median(np.log(chances / (1 - chances))[1:]))
    infos = play(ImaginedEnv("reach-v3", own), 0, decisions=12)[2]
    success = [info["success"] for info in infos]
    assert not success[0] and (False in success[success.index(True) :])
    assert [info["success_latched"] for info in infos] == np.logical_or.accumulate(success).tolist()


def test_memory_changes_what_follows_and_nothing_while_all_is_in_sight(remembering):
    on, default, off = (
        play(ImaginedEnv("reach-v3", remembering, memory=memory), 0, 24)[0] for memory in (True, None, False)
    )
    assert np.array_equal(on, default)
    assert np.array_equal(on[:4], off[:4]) and not np.array_equal(on, off)


def test_bad_actions_are_refused_and_change_nothing_and_others_are_clipped(make):
    env = make()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(4))
    env.reset(seed=0)
    before = env.state
    for action in (np.zeros(3), np.zeros((1, 4)), [0, 0, np.nan, 0], [np.inf, 0, 0, 0], 1.0, [0, [1], 0, 0]):
        with pytest.raises(UserError, match=r"action.*(\(4,\)|NaN|no array of numbers)"):
            env.step(action)
    assert env.state is before
    results = []
    for scale in (1.0, 50.0):
        env.reset(seed=4)
        results.append(env.step(scale * np.ones(4))[0])
    assert np.array_equal(*results)


def test_bad_arguments_are_refused(checkpoint):
    numbers = {"task": 3, "max_decisions": 0, "sampler_steps": 0, "compiled": 1, "memory": "off"}
    names = {"checkpoint": "nowhere", "device": "cuda:99", "task": "drawer-close-v3", "memory": True}
    for name, value in (*numbers.items(), *names.items()):
        with pytest.raises(UserError, match=f"{name}="):
            ImaginedEnv(**{"task": "reach-v3", "checkpoint": checkpoint, name: value})
