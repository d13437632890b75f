"""Snapshots and forks: exact, independent, portable, and refused where they don't belong."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.states import ImaginedState
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.model.checkpoint import Checkpoint, load_checkpoint

torch.set_num_threads(1)
EAGER = FastLearning(rank=4, alpha=8.0, learning_rate=1e-2)
SETTINGS = {"sampler_steps": 1, "memory": EAGER, "memory_every": 2, "max_decisions": 5}


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(params=["single", "vector"])
def make(request, checkpoint):
    """Makes environments of either kind; ``play`` treats them alike."""

    def build(task="reach-v3", **arguments):
        settings = {**SETTINGS, **arguments}
        if request.param == "single":
            return ImaginedEnv(task, checkpoint, **settings)
        return ImaginedVectorEnv(3, task, checkpoint, **settings)

    return build


def play(env, decisions, seed=0):
    """Frames, rewards and estimates of decisions under fixed actions; a single environment resets as it truncates."""
    random = np.random.default_rng(seed)
    seen = []
    for _ in range(decisions):
        frame, reward, _, truncated, info = env.step(random.uniform(-1, 1, env.action_space.shape))
        seen += [frame, np.asarray(reward), info["estimates"]]
        if isinstance(env, ImaginedEnv) and truncated:
            seen.append(env.reset()[0])
    return seen


def same(ours, theirs):
    return len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_restored_run_is_the_same_bit_for_bit(make):
    """Past learning steps and past the reset, whose scene comes from the random state."""
    env = make()
    env.reset(seed=2)
    play(env, 3)
    state = env.get_state()
    future = play(env, 5)
    env.set_state(state)
    assert same(play(env, 5), future)
    other = make()
    other.set_state(state)
    assert same(play(other, 5), future)
    assert not same(play(other, 5), future)


def test_a_state_shows_its_moment_again(make):
    env = make(obs_mode="state")
    env.reset(seed=0)
    observation, _, _, _, info = env.step(np.zeros(env.action_space.shape))
    state = env.get_state()
    play(env, 2)
    again, told = env.set_state(state)
    np.testing.assert_allclose(again, observation, atol=1e-5)
    assert told.keys() == info.keys()
    np.testing.assert_allclose(told["estimates"], info["estimates"], atol=1e-5)
    assert np.array_equal(told["success_latched"], info["success_latched"])


def test_forks_leave_each_other_alone(make):
    env = make()
    env.reset(seed=1)
    play(env, 3)
    first, second = env.fork(2)
    wanted = play(first, 4, seed=0)
    play(env, 4, seed=1)
    play(env.fork(1)[0], 2, seed=2)
    assert same(play(second, 4, seed=0), wanted)
    first.action_space.seed(0)
    drawn = first.action_space.sample()
    second.action_space.seed(0)
    assert np.array_equal(drawn, second.action_space.sample())
    assert first.action_space is not second.action_space


def test_a_state_is_a_value(make):
    env = make()
    env.reset(seed=1)
    play(env, 2)
    state = env.get_state()
    context = state.episodes.imagination.context.clone()
    steps = state.episodes.imagination.memory.steps.clone()
    random = [dict(generator) for generator in state.generators]
    play(env, 4)
    assert torch.equal(state.episodes.imagination.context, context)
    assert torch.equal(state.episodes.imagination.memory.steps, steps)
    assert [dict(generator) for generator in state.generators] == random
    assert (state.episodes.decisions == 2).all()


def test_one_file_holds_everything(make, tmp_path):
    env = make()
    env.reset(seed=4)
    play(env, 3)
    path = tmp_path / "state.safetensors"
    env.get_state().save(path)
    future = play(env, 4)
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]
    env.set_state(path)
    assert same(play(env, 4), future)


def test_another_process_goes_on_from_the_file(checkpoint, small_checkpoint, tmp_path):
    env = ImaginedEnv("reach-v3", checkpoint, device="cpu", **SETTINGS)
    env.reset(seed=4)
    play(env, 3)
    env.get_state().save(tmp_path / "state.safetensors")
    future = np.stack([env.step(np.full(4, 0.5))[0] for _ in range(4)])
    code = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.memory.learning import FastLearning
learning = FastLearning(rank=4, alpha=8.0, learning_rate=1e-2)
env = ImaginedEnv("reach-v3", sys.argv[1], memory=learning, memory_every=2, sampler_steps=1, device="cpu")
env.set_state(sys.argv[2])
np.save(sys.argv[3], np.stack([env.step(np.full(4, 0.5))[0] for _ in range(4)]))
"""
    files = [str(small_checkpoint), str(tmp_path / "state.safetensors"), str(tmp_path / "frames.npy")]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    assert np.array_equal(np.load(files[2]), future)


def test_many_futures_of_one_moment_in_one_batch(checkpoint):
    env = ImaginedEnv("reach-v3", checkpoint, exact=True, **SETTINGS)
    env.reset(seed=0)
    play(env, 3)
    batch = ImaginedVectorEnv(4, "reach-v3", checkpoint, exact=True, **SETTINGS)
    batch.set_state(env.get_state().fork(4))
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 4)).astype(np.float32)
    rewards = batch.step(actions)[1]
    alone = [fork.step(action)[1] for fork, action in zip(env.fork(4), actions, strict=True)]
    np.testing.assert_allclose(rewards, alone, atol=1e-4)
    assert len(set(alone)) == 4


def test_forks_share_one_memory_in_the_file(checkpoint, tmp_path):
    env = ImaginedEnv("reach-v3", checkpoint, **SETTINGS)
    env.reset(seed=0)
    env.get_state().save(tmp_path / "one")
    env.get_state().fork(20).save(tmp_path / "twenty")
    assert (tmp_path / "twenty").stat().st_size < 2 * (tmp_path / "one").stat().st_size
    assert len(ImaginedState.load(tmp_path / "twenty")) == 20


def test_other_tasks_checkpoints_memories_and_numbers_are_refused(make, make_pipeline, checkpoint, tmp_path):
    env = make()
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(UserError, match=r"task 'reach-v3'.*task 'push-v3'"):
        make(task="push-v3").set_state(state)
    with pytest.raises(UserError, match=r"memory \{.*memory None"):
        make(memory=False).set_state(state)
    with pytest.raises(UserError, match=r"anchor_every 8.*anchor_every 1"):
        make(anchor_every=1).set_state(state)
    for name, theirs, ours in (
        ("sampler_steps", 1, 3),
        ("futures", 1, 2),
        ("exact", False, True),
        ("memory_every", 2, 3),
    ):
        with pytest.raises(UserError, match=rf"{name} {theirs} .*{name} {ours}"):
            make(**{name: ours}).set_state(state)
    with pytest.raises(UserError, match=rf"number of episodes {7 * len(state)} .*number of episodes {len(state)}"):
        env.set_state(state.fork(7))
    other = Checkpoint(checkpoint.pipeline, checkpoint.card, checkpoint.starts, tmp_path)
    assert other.hash != checkpoint.hash
    with pytest.raises(UserError, match=rf"checkpoint '{other.hash}'.*checkpoint '{checkpoint.hash}'"):
        env.set_state(replace(state, checkpoint=other.hash))
    single = ImaginedEnv("reach-v3", other, **SETTINGS)
    with pytest.raises(UserError, match=rf"checkpoint '{checkpoint.hash}'.*checkpoint '{other.hash}'"):
        single.set_state(state.select([0]))


def test_what_is_no_state_is_refused(make):
    env = make()
    env.reset(seed=0)
    for other in (None, b"state", {"task": "reach-v3"}, env.get_state().episodes):
        with pytest.raises(UserError, match=rf"state is of type {type(other).__name__}, not ImaginedState"):
            env.set_state(other)


def test_without_memory_it_does_not_matter_how_often_one_would_learn(make):
    env = make(memory=False)
    env.reset(seed=0)
    make(memory=False, memory_every=3).set_state(env.get_state())


def test_damaged_files_are_refused(checkpoint, tmp_path):
    env = ImaginedEnv("reach-v3", checkpoint, **SETTINGS)
    env.reset(seed=0)
    good = tmp_path / "good"
    env.get_state().save(good)
    content = good.read_bytes()
    damaged = {"cut": content[:-100], "empty": b"", "text": b"no tensors here", "header": content[:50] + content[51:]}
    flipped = bytearray(content)
    flipped[-1000] ^= 1
    damaged["flipped"] = bytes(flipped)
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name}' is missing or damaged"):
            env.set_state(tmp_path / name)
    with pytest.raises(UserError, match="is missing or damaged"):
        env.set_state(tmp_path / "nowhere")
    save_file({name: values for name, values in load_file(good).items() if name != "seed"}, tmp_path / "other")
    with pytest.raises(UserError, match="holds no imagined state"):
        env.set_state(tmp_path / "other")
    env.set_state(good)


def test_files_of_other_versions_are_refused(checkpoint, tmp_path):
    env = ImaginedEnv("reach-v3", checkpoint, **SETTINGS)
    env.reset(seed=0)
    path = tmp_path / "state"
    env.get_state().save(path)
    save_file(load_file(path), path, {"format": "sfvgen-plan imagined state 2", "header": "{}", "digest": ""})
    with pytest.raises(UserError, match=r"state=.*state' is of format 2, and this version .* reads format 3"):
        env.set_state(path)


def test_folders_are_made_and_files_in_their_place_refused(checkpoint, tmp_path):
    env = ImaginedEnv("reach-v3", checkpoint, **SETTINGS)
    env.reset(seed=0)
    env.get_state().save(tmp_path / "made" / "state")
    assert (tmp_path / "made" / "state").is_file()
    with pytest.raises(UserError, match=r"path='.*inside' can't be written to"):
        env.get_state().save(tmp_path / "made" / "state" / "inside")


def test_forks_are_counted_from_one(make):
    env = make()
    env.reset(seed=0)
    for n in (1.5, "2", None):
        with pytest.raises(UserError, match=rf"n={n!r} is no whole number"):
            env.fork(n)
    for n in (0, -1):
        with pytest.raises(UserError, match=f"n={n}"):
            env.fork(n)
    with pytest.raises(UserError, match="n=0"):
        env.get_state().fork(0)


def test_episodes_are_selected_by_their_numbers(checkpoint):
    env = ImaginedVectorEnv(3, "reach-v3", checkpoint, sampler_steps=1)
    env.reset(seed=0)
    state = env.get_state()
    assert torch.equal(state.select([2, -3]).episodes.imagination.seed, state.episodes.imagination.seed[[2, 0]])
    for index, found in (
        ([3], "index=3 is out"),
        ([0, -4], "index=-4 is out"),
        ([0.5], "0.5"),
        ([True], "True"),
        (1, "1"),
    ):
        with pytest.raises(UserError, match=found):
            state.select(index)
