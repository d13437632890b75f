"""Snapshots and forks: exact, independent, portable, and refused where they don't belong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint


@pytest.fixture
def make(remembering):
    """Makes environments of three episodes."""

    def build(task="reach-v3", checkpoint=remembering, **arguments):
        return ImaginedVectorEnv(3, task, checkpoint, **{"max_decisions": 11, "obs_mode": "state", **arguments})

    return build


@pytest.fixture
def env(remembering):
    """A single one, reset."""
    made = ImaginedEnv("reach-v3", remembering, obs_mode="state")
    made.reset(seed=0)
    return made


def play(env, decisions, seed=0):
    """Observations, rewards and estimates of decisions under fixed actions."""
    random = np.random.default_rng(seed)
    steps = [env.step(random.uniform(-1, 1, env.action_space.shape)) for _ in range(decisions)]
    return [np.asarray(part) for seen, reward, _, _, info in steps for part in (seen, reward, info["estimates"])]


def same(ours, theirs):
    return len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("kind", ["none", "lora", "recall"])
def test_a_restored_run_is_the_same_bit_for_bit(make, checkpoint_with, kind, tmp_path):
    """From memory and from one file, in it and in another one; past chunks of memory and the reset, whose scene comes
    from the random state."""
    env, other = (make(checkpoint=checkpoint_with(kind)) for _ in range(2))
    env.reset(seed=2)
    play(env, 7)
    state, path = env.get_state(), tmp_path / "state.safetensors"
    state.save(path)
    future = play(env, 6)
    for where, what in ((env, state), (other, path)):
        where.set_state(what)
        assert same(play(where, 6), future)
    assert not same(play(other, 6), future)
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_forks_leave_each_other_alone(make):
    env = make()
    env.reset(seed=1)
    play(env, 3)
    first, second = env.fork(2)
    wanted = play(first, 4, seed=0)
    play(env, 4, seed=1)
    play(env.fork(1)[0], 2, seed=2)
    assert same(play(second, 4, seed=0), wanted)
    assert first.action_space == second.action_space and first.action_space is not second.action_space


def test_a_state_is_a_value_and_shows_its_moment_again(make):
    env = make()
    env.reset(seed=1)
    play(env, 1)
    observation, _, _, _, info = env.step(np.zeros(env.action_space.shape))
    state = env.get_state()
    kept = {name: values.clone() for name, values in state.episodes.imagination.tensors().items()}
    random = [dict(generator) for generator in state.generators]
    play(env, 10)
    assert all(torch.equal(values, kept[name]) for name, values in state.episodes.imagination.tensors().items())
    assert [dict(generator) for generator in state.generators] == random
    assert (state.episodes.decisions == 2).all()
    again, told = env.set_state(state)
    np.testing.assert_allclose(again, observation, atol=1e-5)
    assert told.keys() == info.keys()
    assert np.array_equal(told["success_latched"], info["success_latched"])


def test_many_futures_of_one_moment_in_one_batch(env, remembering):
    play(env, 3)
    batch = ImaginedVectorEnv(4, "reach-v3", remembering, obs_mode="state")
    batch.set_state(env.get_state().fork(4))
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 4)).astype(np.float32)
    rewards = batch.step(actions)[1]
    alone = [fork.step(action)[1] for fork, action in zip(env.fork(4), actions, strict=True)]
    np.testing.assert_allclose(rewards, alone, atol=1e-4)
    assert len(set(alone)) == 4


def test_other_tasks_checkpoints_settings_and_numbers_are_refused(make, remembering, tmp_path):
    env = make()
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(UserError, match=r"task 'reach-v3'.*task 'push-v3'"):
        make(task="push-v3").set_state(state)
    for name, theirs, ours in (("memory", True, False), ("sampler_steps", 1, 3), ("exact", False, True)):
        with pytest.raises(UserError, match=rf"{name} {theirs} .*{name} {ours}"):
            make(**{name: ours}).set_state(state)
    with pytest.raises(UserError, match=rf"number of episodes {7 * len(state)} .*number of episodes {len(state)}"):
        env.set_state(state.fork(7))
    other = Checkpoint(remembering.pipeline, remembering.card, remembering.starts, tmp_path)
    with pytest.raises(UserError, match=rf"checkpoint '{other.hash}'.*checkpoint '{remembering.hash}'"):
        env.set_state(replace(state, checkpoint=other.hash))
    for nothing in (None, b"state", state.episodes):
        with pytest.raises(UserError, match=rf"state is of type {type(nothing).__name__}, not ImaginedState"):
            env.set_state(nothing)


def test_damaged_files_and_numbers_that_make_no_sense_are_refused(env, tmp_path):
    good = tmp_path / "good"
    env.get_state().save(good)
    content = good.read_bytes()
    damaged = {"cut": content[:-100], "empty": b"", "text": b"no tensors here", "header": content[:50] + content[51:]}
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name}' is missing or damaged"):
            env.set_state(tmp_path / name)
    with pytest.raises(UserError, match="is missing or damaged"):
        env.set_state(tmp_path / "nowhere")
    save_file(load_file(good), tmp_path / "other", {"header": "[]"})
    with pytest.raises(UserError, match="other' is missing or damaged"):
        env.set_state(tmp_path / "other")
    env.set_state(good)
    state = env.get_state().fork(3)
    assert state.select([2, -3]).episodes.decisions.shape == (2,)
    for n in (1.5, "2", True):
        with pytest.raises(UserError, match=rf"n={n!r} is no whole number"):
            env.fork(n)
    with pytest.raises(UserError, match="copies=0"):
        state.fork(0)
