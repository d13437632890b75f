"""Memories of imagined episodes as PEFT adapters: saved by one environment, begun with in another."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.adapter import ADAM_FILE, save_memory
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
EAGER = FastLearning(rank=4, alpha=8.0, learning_rate=1e-2)
SETTINGS = {"sampler_steps": 1, "memory": EAGER, "memory_every": 2, "exact": True}


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def make(checkpoint):
    def build(num_envs=None, **arguments):
        settings = {**SETTINGS, **arguments}
        if num_envs is None:
            return ImaginedEnv("reach-v3", checkpoint, **settings)
        return ImaginedVectorEnv(num_envs, "reach-v3", checkpoint, **settings)

    return build


@pytest.fixture(scope="module")
def learnt(make, tmp_path_factory):
    """An environment that has learnt twice, and the folder of what it has learnt."""
    env = make()
    env.reset(seed=3)
    for action in np.random.default_rng(1).uniform(-1, 1, (4, 4)):
        env.step(action)
    folder = tmp_path_factory.mktemp("learnt") / "adapter"
    env.save_memory(folder)
    return env, folder


def frames(env, decisions=3):
    actions = np.random.default_rng(0).uniform(-1, 1, (decisions, 4)).astype(np.float32)
    if isinstance(env, ImaginedVectorEnv):
        actions = np.repeat(actions[:, None], env.num_envs, axis=1)
    return np.stack([env.step(action)[0] for action in actions])


def test_another_environment_imagines_the_same_frames_with_it(make, learnt, checkpoint):
    """As does the memory itself, put where a fresh one was; learning goes on with Adam's moments."""
    env, folder = learnt
    other = make()
    other.reset(seed=7, options={"memory": str(folder)})
    assert int(other.state.memory.steps) == int(env.state.memory.steps) == 2
    seen = frames(other)
    wanted = make()
    wanted.reset(seed=7)
    begun = wanted.state
    recalled = wanted.simulator.recall(begun, [env.state.memory])
    for frame, action in zip(seen[:2], np.random.default_rng(0).uniform(-1, 1, (3, 4)), strict=False):
        recalled, outcome = wanted.simulator.imagine(recalled, torch.tensor(action, dtype=torch.float32)[None, None])
        assert np.array_equal(wanted.simulator.decode(outcome.latents)[0, 0], frame)
    assert not np.array_equal(frames(wanted), seen), "a fresh memory imagines something else"
    assert int(other.state.memory.steps) == 3
    other.reset(seed=7)
    assert int(other.state.memory.steps) == 0, "the next episode begins with a fresh memory"


def test_episodes_side_by_side_begin_with_one_or_with_one_each(make, learnt):
    _, folder = learnt
    single = make()
    single.reset(seed=0, options={"memory": folder})
    alone = frames(single)
    batch = make(2)
    batch.reset(seed=[0, 0], options={"memory": folder})
    both = frames(batch)
    np.testing.assert_allclose(both[:, 0].astype(int), alone, atol=1)
    np.testing.assert_allclose(both[:, 1].astype(int), alone, atol=1)
    batch.reset(seed=[0, 0], options={"memory": [None, folder]})
    mixed = frames(batch)
    np.testing.assert_allclose(mixed[:, 1].astype(int), alone, atol=1)
    assert np.abs(mixed[:, 0].astype(int) - alone).max() > 1
    batch.reset(seed=[0, None], options={"memory": folder, "reset_mask": np.array([True, False])})
    np.testing.assert_allclose(frames(batch)[:, 0].astype(int), alone, atol=1)


def test_a_memory_of_the_batch_is_saved_by_its_number(make, learnt, checkpoint, tmp_path):
    _, folder = learnt
    batch = make(2)
    batch.reset(seed=0, options={"memory": [None, folder]})
    save_memory(batch.get_state().episodes.imagination.memory, tmp_path, episode=1, base=checkpoint.hash)
    assert (tmp_path / ADAM_FILE).read_bytes() == (folder / ADAM_FILE).read_bytes()


@pytest.mark.parametrize("num_envs", [None, 2])
def test_what_does_not_fit_is_refused_and_changes_nothing(make, learnt, tmp_path, num_envs):
    _, folder = learnt
    for arguments, said in (
        ({"memory": False}, "plays without memory; make it with memory=True"),
        ({"memory": FastLearning(rank=2, alpha=8.0)}, "rank 4 instead of 2"),
        ({"memory": FastLearning(rank=4, alpha=2.0)}, "alpha 8 instead of 2"),
        ({"memory": FastLearning(rank=4, alpha=8.0, targets=("to_q",))}, "layers instead of"),
    ):
        with pytest.raises(UserError, match=said):
            make(num_envs, **arguments).reset(seed=0, options={"memory": folder})
    env = make(num_envs)
    env.reset(seed=5)
    before = env.get_state()
    for given, said in (
        (tmp_path / "nowhere", "adapter_config.json is missing or damaged"),
        (3, "memory=3 is no folder"),
        ([folder] * 3, "is no folder"),
    ):
        with pytest.raises(UserError, match=said):
            env.reset(seed=0, options={"memory": given})
    assert env.get_state().episodes is before.episodes


def test_what_can_not_be_saved_is_refused(make, tmp_path):
    env = make(memory=False)
    with pytest.raises(gym.error.ResetNeeded):
        env.save_memory(tmp_path)
    env.reset(seed=0)
    with pytest.raises(UserError, match="memory=False: this environment learns nothing"):
        env.save_memory(tmp_path)
    learning = make()
    learning.reset(seed=0)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"folder='.*file.*' can't be written to"):
        learning.save_memory(tmp_path / "file")
