"""The native vector environment: as many single ones, whatever the batch, in every autoreset mode."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError

MODES = list(AutoresetMode)
WRONG_SHAPES = ((16, 16, 3), (0, 32, 32, 3))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def make(checkpoint):
    return lambda num_envs, **arguments: ImaginedVectorEnv(num_envs, "reach-v3", checkpoint, **arguments)


def singles(checkpoint, num_envs, mode=AutoresetMode.NEXT_STEP, **arguments):
    return SyncVectorEnv([lambda: ImaginedEnv("reach-v3", checkpoint, **arguments)] * num_envs, autoreset_mode=mode)


def actions_for(num_envs, decisions=7, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (decisions, num_envs, 4)).astype(np.float32)


def assert_alike(ours, theirs):
    """Equal in structure and type, numbers to 1e-4 and frames to one step of 255."""
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_alike(ours[key], theirs[key])
    elif isinstance(ours, tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    elif isinstance(ours, np.ndarray):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if ours.dtype == object:
            for one, other in zip(ours, theirs, strict=True):
                assert_alike(one, other)
        elif ours.dtype == np.uint8:
            assert np.abs(ours.astype(int) - theirs).max(initial=0) <= 1
        else:
            np.testing.assert_allclose(ours, theirs, **CLOSE)
    else:
        assert ours == theirs


def test_make_vec_gives_the_native_one_which_keeps_gymnasiums_own_limit(checkpoint):
    arguments = {"task": "metaworld/reach-v3", "checkpoint": checkpoint.path, "max_episode_steps": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make_vec("sfvgen/Imagined-v0", 3, **arguments)
    assert isinstance(env.unwrapped, ImaginedVectorEnv)
    assert (env.num_envs, env.spec.id) == (3, "sfvgen/Imagined-v0")
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space and observation.shape == (3, 32, 32, 3)
    told = [info]
    for ended in (False, True, False):
        *_, truncated, info = env.step(env.action_space.sample())
        assert truncated.tolist() == [ended] * 3
        told.append(info)
    # Libraries of tensors find nothing but numbers.
    assert all(len(torch.from_dlpack(value)) == 3 for info in told for value in info.values())
    env.close()
    assert env.closed
    with pytest.raises(UserError, match="max_episode_steps=0"):
        gym.make_vec("sfvgen/Imagined-v0", 2, **{**arguments, "max_episode_steps": 0})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("obs_mode", "kind"), [("pixels", "ends"), ("state", "recall"), ("latent", "lora")])
def test_does_what_gymnasium_does_with_single_ones(checkpoint_with, mode, obs_mode, kind):
    """Past autoresets, and after masks that reset some alone, so that all are at different decisions."""
    arguments = {"obs_mode": obs_mode, "max_decisions": 4}
    checkpoint = checkpoint_with(kind)
    ours = ImaginedVectorEnv(3, "reach-v3", checkpoint, mode, **arguments)
    theirs = singles(checkpoint, 3, mode, **arguments)
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space", "metadata"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert_alike(ours.reset(seed=[5, 1, 8]), theirs.reset(seed=[5, 1, 8]))
    masks = {2: [True, False, False], 3: [False, True, False]}
    ended, ends, by_itself = np.zeros(3, np.bool_), 0, 0
    for n, action in enumerate(actions_for(3, 11)):
        mask = np.array(masks.get(n, [False] * 3)) | (ended if mode is AutoresetMode.DISABLED else False)
        if mask.any():
            if mode is AutoresetMode.DISABLED and ended.any():
                with pytest.raises(gym.error.ResetNeeded, match=r"environments \[.*have ended"):
                    ours.step(action)
            options = {"reset_mask": mask}
            again = ours.reset(seed=[n, None, n], options=options.copy())
            assert_alike(again, theirs.reset(seed=[n, None, n], options=options.copy()))
        step = ours.step(action)
        assert_alike(step, theirs.step(action))
        ended = step[2] | step[3]
        ends, by_itself = ends + ended.sum(), by_itself + step[2].sum()
        if ended.any() and mode is AutoresetMode.SAME_STEP:
            (first, *_) = np.flatnonzero(ended)
            assert step[4]["final_obs"][first].shape == ours.single_observation_space.shape
    assert ends >= 5 and (by_itself > 0) == (kind == "ends")


def test_frames_for_all_or_for_each(make):
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
    env = make(2)
    each, _ = env.reset(seed=0, options={"frames": frames})
    alike, _ = env.reset(seed=0, options={"frames": frames[0]})
    assert_alike(each[0], alike[0])
    assert np.array_equal(alike[0], alike[1])
    assert not np.array_equal(each[0], each[1])


def test_bad_actions_are_refused_and_change_nothing_but_of_environments_that_reset(make):
    env = make(2, max_decisions=1)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((2, 4)))
    with pytest.raises(gym.error.ResetNeeded):  # some begin anew only where all have begun
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    before = env.get_state().episodes
    nothing, uneven = np.full((2, 4), np.nan), [[0, 0, 0, 0], [0, 0, 0]]
    for actions in (np.zeros((3, 4)), np.zeros((2, 3)), np.zeros(4), nothing, uneven, "up"):
        with pytest.raises(UserError, match=r"action (has shape .*\(2, 4\)|holds NaN)|no array of numbers"):
            env.step(actions)
    assert env.get_state().episodes is before
    assert env.step(np.zeros((2, 4)))[3].all()
    _, rewards, _, truncations, _ = env.step(nothing)
    assert (rewards.tolist(), truncations.tolist()) == ([0, 0], [False, False])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs=0"),
        ({"num_envs": 2.5}, "num_envs=2.5 is no whole number"),
        ({"num_envs": 1, "autoreset_mode": "next"}, "autoreset_mode='next'.*NextStep"),
        ({"num_envs": 1, "obs_mode": "pixel"}, "obs_mode='pixel'.*pixels"),
    ],
)
def test_bad_arguments_are_refused(checkpoint, arguments, message):
    with pytest.raises(UserError, match=message):
        gym.make_vec("sfvgen/Imagined-v0", task="reach-v3", checkpoint=checkpoint, **arguments)


def test_one_pass_moves_all_and_what_was_shown_stays_as_it_is(make):
    env, latent = make(4), make(4, obs_mode="latent")
    frames, _ = env.reset(seed=np.int64(3))
    assert np.array_equal(frames, env.reset(seed=np.array([3, 4, 5, 6]))[0])
    latent.reset(seed=3)
    assert_alike(np.stack(latent.render()), frames)
    kept, before = frames.copy(), env.simulator.denoiser_calls
    env.step(np.ones((4, 4)))
    assert env.simulator.denoiser_calls == before + 1
    assert np.array_equal(frames, kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1, 2, 3]}, "3 seeds for 2 environments"),
        *(({"seed": seed}, r"^seed=.* is no whole number from 0") for seed in (["a", "b"], 1.5, [-1, 0], {0: 1})),
        ({"options": {"frame": None}}, "did you mean frames"),
        *(({"options": {"frames": np.zeros(shape, np.uint8)}}, "frames have shape") for shape in WRONG_SHAPES),
        ({"options": {"frames": np.zeros((32, 32, 3))}}, "frames have type float64"),
        *(({"options": {"reset_mask": mask}}, "reset_mask=") for mask in ([True, False], np.zeros(2, np.bool_))),
    ],
)
def test_resets_that_make_no_sense_are_refused(make, arguments, message):
    with pytest.raises(UserError, match=message):
        make(2).reset(**arguments)
