"""The learned simulator: a checkpoint in frames and names of tasks."""

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

TASKS = ["reach-v3", "push-v3", "push-v3"]
SEEDS = [5, 6, 5]


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def simulator(checkpoint):
    return checkpoint.simulator(exact=True)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def actions():
    return torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def state(simulator, frames):
    return simulator.begin(frames, TASKS, SEEDS)


def test_real_frames_are_followed_in_frames_as_in_latents(simulator, state, frames, actions):
    shown = simulator.observe(state, frames, actions[:, :2])
    latents = simulator.observe_latents(state, simulator.encode(frames), actions[:, :2])
    assert all(torch.equal(ours, latents.tensors()[name]) for name, ours in shown.tensors().items())
    assert torch.allclose(shown.place, state.place + actions[:, :2].sum(1))
    # Forks lie next to each other.
    assert simulator.fork(state, 2).seed.tolist() == [5, 5, 6, 6, 5, 5]
    assert simulator.join([simulator.select(state, [2]), state]).task.tolist() == [1, 0, 1, 1]


def test_two_simulators_of_a_checkpoint_share_nothing_that_changes(checkpoint, simulator, state, actions):
    expected = simulator.imagine(state, actions)[1].reward
    other = checkpoint.simulator(sampler_steps=3, exact=True)
    calls = simulator.denoiser_calls
    assert not torch.equal(other.imagine(state, actions)[1].reward, expected)
    assert other.denoiser_calls == 3 * 6 and simulator.denoiser_calls == calls
    assert torch.equal(simulator.imagine(state, actions)[1].reward, expected)


def test_priors_read_the_features_of_the_state(checkpoint, simulator, state):
    proposed = checkpoint.prior()(state.features)
    assert proposed.shape == (3, 4) and bool((proposed.abs() <= 1).all())
    assert not torch.equal(checkpoint.prior("prior10")(state.features), proposed)


def test_videos_are_what_any_text_asks_for(simulator, frames, state):
    texts = ["push the puck to the green goal", "push", "open the drawer"]
    told = simulator.tell(state, texts)
    _, video, actions = simulator.video(told, 3)
    assert video.shape == (3, 3, 4, 8, 8) and actions.shape == (3, 3, 4)
    assert torch.equal(told.text[0], state.text[1]) and not torch.equal(told.text[1], told.text[2])
    assert torch.equal(simulator.begin(frames, TASKS, SEEDS, texts).text, told.text)
    with pytest.raises(UserError, match="frames=0 makes no video"):
        simulator.video(state, 0)


def test_frames_and_settings_that_do_not_fit_the_checkpoint_are_refused(checkpoint, simulator, state, frames, actions):
    for shape in ((3, 32, 32, 3), (2, 1, 32, 32, 3), (3, 1, 16, 16, 3), (3, 0, 32, 32, 3), (3, 1, 32, 32, 3)):
        wrong = np.zeros(shape, np.float32 if shape == (3, 1, 32, 32, 3) else np.uint8)
        with pytest.raises(UserError, match=r"give \(3, P, 32, 32, 3\) uint8 from camera 'corner4'"):
            simulator.begin(wrong, TASKS, SEEDS)
        with pytest.raises(UserError, match=r"give \(3, P, 32, 32, 3\) uint8"):
            simulator.observe(state, wrong, actions[:, :1])
    with pytest.raises(UserError, match="task='fly' is not in the checkpoint"):
        checkpoint.simulator().begin(frames, ["fly"] * 3, SEEDS)
    with pytest.raises(UserError, match="seeds=1 and tasks=3 don't fit"):
        checkpoint.simulator().begin(frames, TASKS, [1])
    with pytest.raises(UserError, match="sampler_steps=0 must be 1 or more"):
        checkpoint.simulator(0)
    with pytest.raises(UserError, match=r"memory=True: checkpoint .* has no memory layers"):
        checkpoint.simulator(memory=True)
