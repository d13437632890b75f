"""Observation modes: the same spaces in imagination and on real environments, and nothing privileged there."""

import copy
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sfvgen_plan.envs import forks
from sfvgen_plan.envs.observation import Observer, observation_space
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

ENVIRONMENTS = ("sfvgen/Imagined-v0", "sfvgen/Metaworld-v0")


def make(env_id, checkpoint, obs_mode, make=gym.make, **arguments):
    size = {"size": 32} if env_id == "sfvgen/Metaworld-v0" and obs_mode == "pixels" else {}
    return make(env_id, task="reach-v3", checkpoint=checkpoint, obs_mode=obs_mode, **size, **arguments)


@pytest.mark.parametrize("obs_mode", OBS_MODES)
@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_gymnasium_has_nothing_to_complain_about_and_all_have_the_same_spaces(checkpoint, env_id, obs_mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(env_id, checkpoint, obs_mode)
        # The checker wants no wrapper; what gym.make puts around an environment is off here, its own stays.
        inner = env
        while not inner.__module__.startswith("sfvgen_plan"):
            inner = inner.env
        with warnings.catch_warnings():
            if inner is not inner.unwrapped:
                warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
            check_env(inner, skip_render_check=True, skip_close_check=True)
        env.close()
    assert env.observation_space == observation_space(checkpoint, obs_mode)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (4,), np.float32)


def test_the_modes_show_one_and_the_same_moment(checkpoint):
    """What the latent and state modes show is what the pixels' environment holds and says in its info."""
    environments = {mode: make("sfvgen/Imagined-v0", checkpoint, mode) for mode in OBS_MODES}
    seen = {}
    for mode, env in environments.items():
        env.reset(seed=1)
        seen[mode], _, _, _, info = env.step(np.full(4, 0.5, np.float32))
    np.testing.assert_array_equal(seen["latent"], environments["pixels"].unwrapped.state.latents.flatten().numpy())
    config = checkpoint.pipeline.transformer.config
    units = (info["estimates"] - np.asarray(config.estimate_mean)) / np.asarray(config.estimate_std)
    expected = [*units, info["success_probability"], info["value"]]
    np.testing.assert_allclose(seen["state"], expected, rtol=1e-5, atol=1e-5)
    assert len(seen["state"]) == len(checkpoint.card.readouts) + 2


def test_it_sees_its_own_frames_and_actions_alone_and_so_does_a_copy(remembering, obs_mode="state"):
    """Computed again from those, which is all that there is; an imagined episode begins with the same."""
    pixels = gym.make("sfvgen/Metaworld-v0", task="reach-v3", size=32)
    seeing = make("sfvgen/Metaworld-v0", remembering, obs_mode)
    observer = Observer(remembering.simulator(), obs_mode)
    frame, first = pixels.reset(seed=3)[0], seeing.reset(seed=3)[0]
    state = observer.begin(frame[None], ["reach-v3"])
    imagined = make("sfvgen/Imagined-v0", remembering, obs_mode)
    for shown in (observer.of(state)[0], imagined.reset(seed=0, options={"frames": frame})[0]):
        np.testing.assert_allclose(shown, first, atol=1e-4)
    for action in np.random.default_rng(0).uniform(-2, 2, (9, 4)).astype(np.float32):
        state = observer.observe(state, pixels.step(action)[0][None], action[None])
        observation = seeing.step(action)[0]
        np.testing.assert_allclose(observation, observer.of(state)[0], atol=1e-4)
    alone = observer.begin(pixels.render()[None], ["reach-v3"])
    assert not np.array_equal(observation, observer.of(alone)[0]), "the state tells of what went before, too"
    other = copy.deepcopy(seeing)
    np.testing.assert_array_equal(seeing.step(action)[0], other.step(action)[0])
    np.testing.assert_allclose(seeing.reset(seed=3)[0], first, atol=1e-5)
    for env in (pixels, seeing, other):
        env.close()


def test_rlbench_is_shown_as_it_is_imagined(fake_rlbench, make_checkpoint):
    """Its real frames of two cameras, its spaces."""
    task = "rlbench/reach_target"
    own = load_checkpoint(make_checkpoint({task: "reach the target"}, camera="front+wrist", repeat=1, action_dim=7))
    plain = gym.make("sfvgen/RLBench-v0", task=task, size=32)
    frame, _ = plain.reset(seed=0)
    plain.close()
    real = gym.make("sfvgen/RLBench-v0", task="reach_target", checkpoint=own, obs_mode="state")
    imagined = gym.make("sfvgen/Imagined-v0", task=task, checkpoint=own, obs_mode="state")
    assert real.observation_space == imagined.observation_space
    assert real.action_space == imagined.action_space
    seen, _ = real.reset(seed=0)
    np.testing.assert_allclose(seen, imagined.reset(seed=0, options={"frames": frame})[0], atol=1e-4)
    assert real.step(real.action_space.sample())[0] in real.observation_space
    real.close()
    with pytest.raises(UserError, match=r"camera='front\+wrist'.*camera='wrist'"):
        gym.make("sfvgen/RLBench-v0", task=task, checkpoint=own, obs_mode="state", camera="wrist")
    with pytest.raises(UserError, match="task='rlbench/open_drawer' is not in the checkpoint"):
        gym.make("sfvgen/RLBench-v0", task="open_drawer", checkpoint=own, obs_mode="state")


def test_other_frames_than_the_checkpoints_are_refused(checkpoint):
    with pytest.raises(UserError, match=r"size=32.*size=64"):
        make("sfvgen/Metaworld-v0", checkpoint, "state", size=64)
    with pytest.raises(UserError, match="task='drawer-open-v3'"):
        gym.make("sfvgen/Metaworld-v0", task="drawer-open-v3", checkpoint=checkpoint, obs_mode="state")
    with pytest.raises(UserError, match="pixels=False"):
        make("sfvgen/Metaworld-v0", checkpoint, "state", pixels=False)
    for env_id in ENVIRONMENTS:
        with pytest.raises(UserError, match=r"obs_mode='states'.*state"):
            make(env_id, checkpoint, "states")


def test_a_child_forked_from_a_process_with_torch_is_told_the_remedy_on_a_gpu(monkeypatch):
    monkeypatch.setattr(forks, "_inherited", {forks.TORCH})
    with pytest.raises(UserError, match="'context': 'spawn'"):
        forks.wake_torch("cuda")
