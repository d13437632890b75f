"""The learned simulator: imagined episodes are values, and know nothing of the batch they are in."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator

TASKS = ["reach-v3", "push-v3", "push-v3"]
SEEDS = [5, 6, 5]


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def simulator(checkpoint):
    return checkpoint.simulator(sampler_steps=2, exact=True)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def actions():
    return torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def state(simulator, frames):
    return simulator.begin(frames, TASKS, SEEDS)


def tensors(value):
    """Name -> tensor of a state or an outcome."""
    return {f.name: getattr(value, f.name) for f in fields(value) if isinstance(getattr(value, f.name), torch.Tensor)}


def assert_same(first, second, atol=0.0):
    first, second = tensors(first), tensors(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_shapes(simulator, state, actions):
    new, outcome = simulator.imagine(state, actions)
    assert len(new) == 3
    assert outcome.reward.shape == outcome.success.shape == outcome.value.shape == (3, 6)
    assert outcome.estimates.shape == (3, 6, 10)
    assert outcome.latents.shape == (3, 6, 4, 8, 8)
    assert ((outcome.success >= 0) & (outcome.success <= 1)).all()
    assert simulator.decode(outcome.latents).shape == (3, 6, 32, 32, 3)
    here = simulator.read(new)
    for name in ("reward", "success", "value", "estimates"):
        torch.testing.assert_close(getattr(here, name)[:, 0], getattr(outcome, name)[:, -1])


def test_same_seed_same_result(simulator, frames, actions):
    results = [simulator.imagine(simulator.begin(frames, TASKS, SEEDS), actions)[1] for _ in range(2)]
    assert_same(*results)


def test_the_batch_does_not_matter(simulator, frames, actions):
    whole, outcome = simulator.imagine(simulator.begin(frames, TASKS, SEEDS), actions)
    whole, outcome = simulator.imagine(whole, actions[:, :2])
    for n in range(3):
        alone = simulator.begin(frames[n : n + 1], TASKS[n : n + 1], SEEDS[n : n + 1])
        alone, _ = simulator.imagine(alone, actions[n : n + 1])
        alone, one = simulator.imagine(alone, actions[n : n + 1, :2])
        assert_same(one, type(outcome)(**{k: v[n : n + 1] for k, v in tensors(outcome).items()}), atol=1e-4)
        assert_same(alone, simulator.select(whole, [n]), atol=1e-4)


def test_batches_too_large_for_one_pass_are_split(simulator, state, actions, monkeypatch):
    _, whole = simulator.imagine(state, actions)
    h, w = state.context.shape[-2:]
    monkeypatch.setattr("sfvgen_plan.simulator.MOST_SEQUENCES", h * w)  # one episode in a pass
    _, split = simulator.imagine(state, actions)
    torch.testing.assert_close(split.latents, whole.latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(split.reward, whole.reward, rtol=1e-4, atol=1e-4)


def test_other_seeds_are_other_futures(simulator, state, actions):
    _, outcome = simulator.imagine(state, actions)
    _, other = simulator.imagine(simulator.reseed(state, [5, 7, 8]), actions)
    torch.testing.assert_close(other.latents[0], outcome.latents[0])
    assert not other.latents[1].allclose(outcome.latents[1])
    assert not other.latents[2].allclose(outcome.latents[2])


def test_successive_passes_draw_new_noise(simulator, state, actions):
    first, outcome = simulator.imagine(state, actions[:, :1])
    again = type(first)(state.context, first.task, first.seed, first.step)
    assert not simulator.imagine(again, actions[:, :1])[1].latents.allclose(outcome.latents)


def test_nothing_is_changed_in_place(simulator, state, actions):
    before = {name: value.clone() for name, value in tensors(state).items()}
    given = actions.clone()
    new, _ = simulator.imagine(state, given)
    after = {name: value.clone() for name, value in tensors(new).items()}
    simulator.imagine(new, given[:, :1])
    simulator.fork(new, 2)
    simulator.select(new, [1])
    simulator.reseed(new, [1, 2, 3])
    simulator.read(new)
    assert given.equal(actions)
    assert all(value.equal(before[name]) for name, value in tensors(state).items())
    assert all(value.equal(after[name]) for name, value in tensors(new).items())


def test_fast_learning_changes_nothing_in_place(checkpoint, frames, actions):
    simulator = checkpoint.simulator(2, FastLearning(rank=2, learning_rate=0.1), exact=True)
    start = simulator.begin(frames, TASKS, SEEDS)
    state, plain = simulator.imagine(start, actions)
    weights = {name: value.clone() for name, value in checkpoint.pipeline.unet.state_dict().items()}
    up = {name: value.clone() for name, value in state.memory.up.items()}
    learned = simulator.remember(state)
    assert all(value.equal(up[name]) for name, value in state.memory.up.items())
    assert all(value.equal(weights[name]) for name, value in checkpoint.pipeline.unet.state_dict().items())
    assert_same(simulator.imagine(state, actions)[1], simulator.imagine(state, actions)[1])
    assert not simulator.imagine(learned, actions)[1].latents.allclose(simulator.imagine(state, actions)[1].latents)
    torch.testing.assert_close(simulator.imagine(start, actions)[1].latents, plain.latents)


def test_no_memory_to_learn_into(simulator, state):
    with pytest.raises(UserError, match="memory=None"):
        simulator.remember(state)


def test_forks_lie_next_to_each_other_and_share_their_noise(simulator, state, actions):
    forks = simulator.fork(state, 2)
    assert forks.seed.tolist() == [5, 5, 6, 6, 5, 5]
    assert forks.task.tolist() == [0, 0, 1, 1, 1, 1]
    _, outcome = simulator.imagine(forks, actions.repeat_interleave(2, dim=0))
    torch.testing.assert_close(outcome.latents[::2], outcome.latents[1::2], atol=1e-5, rtol=0)
    torch.testing.assert_close(outcome.latents[::2], simulator.imagine(state, actions)[1].latents, atol=1e-4, rtol=0)


def test_forks_do_not_touch_each_other(simulator, state, actions):
    plans = actions.repeat_interleave(2, dim=0).clone()
    plans[1::2] *= -1
    _, outcome = simulator.imagine(simulator.fork(state, 2), plans)
    torch.testing.assert_close(outcome.latents[::2], simulator.imagine(state, actions)[1].latents, atol=1e-4, rtol=0)
    assert not outcome.latents[1::2].allclose(outcome.latents[::2], atol=1e-3)


def test_select_takes_any_order(simulator, state):
    chosen = simulator.select(state, [2, 0, 2])
    assert chosen.context.equal(state.context[[2, 0, 2]])
    assert chosen.task.tolist() == [1, 0, 1]
    assert_same(simulator.select(state, torch.tensor([2, 0, 2])), chosen)


def test_one_decision_at_a_time(simulator, state, actions):
    for step in range(actions.shape[1]):
        state, outcome = simulator.imagine(state, actions[:, step : step + 1])
        assert outcome.latents.shape[1] == 1
        assert outcome.latents.isfinite().all()
    assert state.step.tolist() == [6, 6, 6]


def test_denoiser_passes_are_counted(checkpoint, frames, actions):
    simulator = checkpoint.simulator(sampler_steps=3, exact=True)
    state, _ = simulator.imagine(simulator.begin(frames, TASKS, SEEDS), actions)
    assert simulator.denoiser_calls == 3
    simulator.imagine(state, actions[:, :1])
    assert simulator.denoiser_calls == 6


def test_one_frame_is_enough_to_begin(simulator, frames, actions):
    """Before the first frame the scene stood still."""
    alone = simulator.begin(frames[:, :1], TASKS, SEEDS)
    twice = simulator.begin(frames[:, [0, 0]], TASKS, SEEDS)
    assert_same(simulator.imagine(alone, actions)[1], simulator.imagine(twice, actions)[1], atol=1e-5)


def test_only_the_newest_frames_are_context(simulator, frames, actions):
    longer = np.concatenate([255 - frames, frames], axis=1)
    results = [simulator.imagine(simulator.begin(f, TASKS, SEEDS), actions)[1] for f in (frames, longer)]
    assert_same(*results, atol=1e-5)


def test_begin_from_the_bank_of_starts(simulator, checkpoint, actions):
    starts = torch.stack([checkpoint.starts[task][:1] for task in TASKS])
    state = simulator.begin_latents(starts, TASKS, SEEDS)
    assert state.context.shape == (3, 2, 4, 8, 8)
    assert simulator.imagine(state, actions)[1].reward.isfinite().all()


def test_actions_are_clipped(simulator, state, actions):
    assert_same(simulator.imagine(state, 10 * actions.sign())[1], simulator.imagine(state, actions.sign())[1])


def test_the_prior_acts_on_imagined_states(checkpoint, simulator, state):
    prior = checkpoint.prior("prior10")
    actions = prior.act(state)
    assert actions.shape == (3, 4)
    assert (actions.abs() <= 1).all()
    assert prior.act(simulator.imagine(state, actions[:, None])[0]).shape == (3, 4)


@pytest.mark.parametrize("shape", [(3, 4), (2, 6, 4), (3, 6, 3), (3, 0, 4), (3, 31, 4)])
def test_actions_of_a_wrong_shape(simulator, state, shape):
    with pytest.raises(UserError, match=r"actions of shape .*give \(3, G, 4\) with G from 1 to 30"):
        simulator.imagine(state, torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_actions_that_are_no_numbers(simulator, state, actions, value):
    broken = actions.clone()
    broken[1, 2, 3] = value
    with pytest.raises(UserError, match="NaN or infinity"):
        simulator.imagine(state, broken)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[:, 0],
        lambda f: f[:2],
        lambda f: f[:, :0],
        lambda f: f[:, :, :16, :16],
        lambda f: f / np.float32(255),
        lambda f: f.transpose(0, 1, 4, 2, 3),
    ],
)
def test_frames_that_do_not_fit(simulator, frames, change):
    with pytest.raises(UserError, match=r"frames of shape .*\(3, P, 32, 32, 3\) uint8 .*'corner4'"):
        simulator.begin(change(frames), TASKS, SEEDS)


def test_a_task_that_the_checkpoint_does_not_list(simulator, frames):
    with pytest.raises(UserError, match="task='door-open-v3' is not in the checkpoint"):
        simulator.begin(frames, ["reach-v3", "push-v3", "door-open-v3"], SEEDS)


def test_a_seed_for_every_episode(simulator, frames):
    with pytest.raises(UserError, match="seeds=2"):
        simulator.begin(frames, TASKS, SEEDS[:2])


def test_sampler_steps(checkpoint):
    with pytest.raises(UserError, match="sampler_steps=0"):
        LearnedSimulator(checkpoint, sampler_steps=0)
