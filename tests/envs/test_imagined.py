"""The imagined environment: spaces, seeds, start frames, memory, bad input."""

import subprocess
import sys
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import sfvgen_plan.envs  # noqa: F401 - registers the environments
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.model.checkpoint import load_checkpoint

EAGER = FastLearning(rank=4, alpha=8.0, learning_rate=1e-2)


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture
def make(checkpoint):
    def build(task="reach-v3", **arguments):
        return ImaginedEnv(task, checkpoint, **{"sampler_steps": 1, **arguments})

    return build


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


@pytest.mark.parametrize("memory", [False, True])
def test_gymnasium_has_nothing_to_complain_about(small_checkpoint, memory):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(
            "sfvgen/Imagined-v0",
            task="metaworld/reach-v3",
            checkpoint=small_checkpoint,
            memory=memory,
            memory_every=1,
            device="cpu",
        )
        check_env(env.unwrapped)
        env.close()


def test_gymnasium_takes_a_loaded_checkpoint(checkpoint):
    env = gym.make("sfvgen/Imagined-v0", task="reach-v3", checkpoint=checkpoint)
    env.reset(seed=0)
    assert env.unwrapped.checkpoint is checkpoint


def test_spaces_are_those_of_the_real_task(make):
    env, real = make(), MetaworldEnv("reach-v3", size=32, pixels=False)
    assert env.observation_space == real.observation_space
    assert env.action_space == real.action_space
    frame, _ = env.reset(seed=0)
    assert frame in env.observation_space
    assert np.array_equal(frame, env.render())
    assert env.metadata["render_fps"] == real.metadata["render_fps"]


def test_a_decision_is_what_the_simulator_imagines(make, checkpoint):
    env = make(sampler_steps=2)
    env.reset(seed=1)
    simulator = checkpoint.simulator(sampler_steps=2)
    start = checkpoint.starts["reach-v3"][1]
    state = simulator.begin_latents(start[None, None], ["reach-v3"], [1])
    action = np.array([0.1, -0.7, 0.3, 1.0], np.float32)
    _, outcome = simulator.imagine(state, torch.tensor(action)[None, None])
    frame, reward, terminated, truncated, info = env.step(action)
    assert np.array_equal(frame, simulator.decode(outcome.latents)[0, 0])
    assert reward == outcome.reward.item()
    assert info["success_probability"] == outcome.success.item()
    assert info["success"] is (outcome.success.item() > 0.5)
    assert info["value"] == outcome.value.item()
    assert np.array_equal(info["estimates"], outcome.estimates[0, 0].numpy())
    assert (info["estimates"].shape, info["estimates"].dtype) == ((10,), np.float32)
    assert info["instruction"] == checkpoint.card.tasks["reach-v3"]
    assert (terminated, truncated) == (False, False)


def test_info_has_the_real_environments_keys(make):
    _, _, infos = play(make(), 0, decisions=1)
    real = set(MetaworldEnv("reach-v3", pixels=False).reset(seed=0)[1]) - {"state", "reward_terms"}
    assert all(real <= set(info) for info in infos)


@pytest.mark.parametrize("memory", [False, EAGER])
def test_same_seed_same_episode_whatever_came_before(make, memory):
    env = make(memory=memory, memory_every=2)
    first, rewards, _ = play(env, 5)
    play(env, 6, decisions=3)
    again, rewards_again, _ = play(env, 5)
    assert np.array_equal(first, again)
    assert rewards == rewards_again
    assert np.array_equal(play(make(memory=memory, memory_every=2), 5)[0], first)


def test_seeds_go_through_the_start_frames(make):
    env = make()
    starts = [env.reset(seed=seed)[0] for seed in range(6)]
    assert len({start.tobytes() for start in starts}) == 2
    assert np.array_equal(starts[0], starts[2])


def test_seeds_with_the_same_start_have_other_futures(make):
    assert not np.array_equal(play(make(), 0)[0][1:], play(make(), 2)[0][1:])


def test_without_a_seed_the_sequence_goes_on(make):
    def noise_of(env):
        env.reset(seed=3)
        return [env.reset()[0].tobytes() + bytes(str(env.state.seed), "ascii") for _ in range(3)]

    sequence = noise_of(make())
    assert sequence == noise_of(make())
    assert len(set(sequence)) == 3


def test_any_seed_that_gymnasium_takes_will_do(make):
    env = make()
    assert env.reset(seed=2**70 + 1)[0] in env.observation_space


def test_starts_from_given_frames(make, checkpoint):
    env = make()
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    first, _ = env.reset(seed=0, options={"frames": frames})
    simulator = checkpoint.simulator(sampler_steps=1)
    state = simulator.begin(frames[None], ["reach-v3"], [0])
    assert torch.equal(env.state.context, state.context)
    assert np.array_equal(first, simulator.decode(state.context[:, -1:])[0, 0])


def test_one_frame_is_a_scene_that_stood_still(make):
    env = make()
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    alone = play(env, 0, options={"frames": frame})[0]
    twice = play(env, 0, options={"frames": np.stack([frame, frame])})[0]
    assert np.array_equal(alone, twice)


def test_truncates_at_the_limit_and_can_go_on(make):
    env = make(max_decisions=2)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, True), (False, True)]
    assert env.decisions == 3


def test_success_is_latched(make, monkeypatch):
    env = make()
    read = env.simulator._read
    chances = iter([0.9, 0.2, 0.7, 0.1])  # the start frame's, then the decisions'

    def certain(*seen):
        outcome = read(*seen)
        return replace(outcome, success=torch.full_like(outcome.success, next(chances)))

    monkeypatch.setattr(env.simulator, "_read", certain)
    _, _, infos = play(env, 0, decisions=3)
    assert [info["success"] for info in infos] == [False, False, True, False]
    assert [info["success_latched"] for info in infos] == [False, False, True, True]


def test_memory_learns_after_every_chunk(make):
    env = make(memory=EAGER, memory_every=3)
    env.reset(seed=0)
    steps = []
    for _ in range(7):
        env.step(np.zeros(4))
        steps.append(int(env.state.memory.steps[0]))
    assert steps == [0, 0, 1, 1, 1, 2, 2]
    env.reset(seed=0)
    assert not any(up.any() for up in env.state.memory.up.values())


def test_memory_changes_what_follows_and_nothing_before(make):
    with_memory = play(make(memory=EAGER, memory_every=2), 0, decisions=5)[0]
    without = play(make(), 0, decisions=5)[0]
    assert np.array_equal(with_memory[:3], without[:3])
    assert not np.array_equal(with_memory[3:], without[3:])


def test_steps_leave_earlier_states_alone(make):
    env = make(memory=EAGER, memory_every=1)
    env.reset(seed=0)
    before, context = env.state, env.state.context.clone()
    env.step(np.ones(4))
    assert torch.equal(before.context, context)
    assert not any(up.any() for up in before.memory.up.values())


def test_actions_outside_the_box_are_clipped(make):
    env = make()
    results = []
    for scale in (1.0, 50.0):
        env.reset(seed=4)
        results.append(env.step(scale * np.ones(4))[0])
    assert np.array_equal(*results)


@pytest.mark.parametrize(
    "action", [np.zeros(3), np.zeros((1, 4)), [0, 0, np.nan, 0], [np.inf, 0, 0, 0], 1.0, [0, [1], 0, 0]]
)
def test_bad_actions_are_refused_and_change_nothing(make, action):
    env = make()
    env.reset(seed=0)
    before = env.state
    with pytest.raises(UserError, match=r"action.*(\(4,\)|finite|no array of numbers)"):
        env.step(action)
    assert env.state is before
    assert env.decisions == 0


@pytest.mark.parametrize(
    "frames", [np.zeros((16, 16, 3), np.uint8), np.zeros((32, 32, 3)), np.zeros((0, 32, 32, 3), np.uint8)]
)
def test_bad_frames_are_refused(make, frames):
    with pytest.raises(UserError, match="frames have"):
        make().reset(seed=0, options={"frames": frames})


def test_unknown_reset_options_are_refused(make):
    with pytest.raises(UserError, match="did you mean frames"):
        make().reset(options={"frame": None})


@pytest.mark.parametrize(
    "arguments",
    [
        {"task": "drawer-close-v3"},
        {"task": 3},
        {"task": None},
        {"task": ["reach-v3"]},
        {"max_decisions": 0},
        {"memory_every": 0},
        {"memory_every": 31},
        {"sampler_steps": 0},
        {"device": "cuda:99"},
    ],
)
def test_bad_arguments_are_refused(make, arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f"{name}="):
        make(**arguments)


def test_a_missing_checkpoint_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="checkpoint="):
        ImaginedEnv("reach-v3", tmp_path)


def test_stepping_needs_a_reset(make):
    with pytest.raises(gym.error.ResetNeeded):
        make().step(np.zeros(4))


def test_importing_the_package_after_gymnasium_registers():
    code = (
        "import sys, gymnasium, sfvgen_plan; assert 'sfvgen/Imagined-v0' in gymnasium.registry; "
        "assert not {'torch', 'mujoco', 'metaworld', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_alone_stays_light():
    code = "import sys, sfvgen_plan; assert not {'gymnasium', 'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_id_can_name_the_package(small_checkpoint):
    env = gym.make("sfvgen_plan:sfvgen/Imagined-v0", task="push-v3", checkpoint=small_checkpoint)
    assert env.unwrapped.task == "push-v3"
