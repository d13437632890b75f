"""Decisions imagined one at a time are as good as in chunks: they start from the same clean frames."""

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

TASKS = ["reach-v3", "push-v3"]


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint):
    return load_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def simulator(checkpoint):
    return checkpoint.simulator(sampler_steps=1, exact=True, anchor_every=4)


@pytest.fixture(scope="module")
def actions():
    return torch.rand(2, 11, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def state(simulator):
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 32, 32, 3), dtype=np.uint8)
    return simulator.begin(frames, TASKS, [5, 6])


def play(simulator, state, actions, sizes):
    """(frames of all passes, the last state) after passes of so many decisions."""
    made = []
    for part in actions.split(sizes, dim=1):
        state, outcome = simulator.imagine(state, part)
        made.append(outcome.latents)
    return torch.cat(made, dim=1), state


def test_the_last_frame_of_a_chunk_does_not_depend_on_how_it_was_divided(simulator, state, actions):
    chunk, _ = play(simulator, state, actions[:, :4], [4])
    for sizes in ([1, 1, 1, 1], [2, 2], [1, 3]):
        frames, _ = play(simulator, state, actions[:, :4], sizes)
        torch.testing.assert_close(frames[:, -1], chunk[:, -1], atol=1e-5, rtol=0)


def test_without_anchors_it_does(checkpoint, state, actions):
    plain = checkpoint.simulator(sampler_steps=1, exact=True)
    start = plain.begin_latents(state.context, TASKS, [5, 6])
    assert start.anchor is None
    chunk, _ = play(plain, start, actions[:, :4], [4])
    frames, _ = play(plain, start, actions[:, :4], [1, 1, 1, 1])
    assert not frames[:, -1].allclose(chunk[:, -1], atol=1e-3)


def test_an_anchor_that_is_full_moves_to_the_newest_frames(simulator, checkpoint, state, actions):
    _, full = play(simulator, state, actions[:, :4], [1, 3])
    frames, moved = play(simulator, full, actions[:, 4:5], [1])
    assert moved.anchor.taken.tolist() == [1, 1]
    assert moved.anchor.context.equal(full.context[:, -2:])
    assert not frames.allclose(play(simulator, full, actions[:, 5:6], [1])[0])


def test_a_chunk_longer_than_an_anchor_lasts(simulator, state, actions):
    frames, after = play(simulator, state, actions[:, :7], [6, 1])
    assert frames.shape[1] == 7
    assert after.anchor.taken.tolist() == [1, 1]


def test_episodes_of_one_batch_may_stand_at_different_decisions(simulator, state, actions):
    _, late = play(simulator, state, actions[:, :2], [1, 1])
    mixed = simulator.select(state, [0, 1])
    index = torch.tensor([1])
    mixed = type(mixed)(
        torch.cat([state.context[:1], late.context[1:, -2:]]),
        state.task,
        state.seed,
        torch.stack([state.step[0], late.step[1]]),
        anchor=state.anchor.replaced(index, late.anchor.select(index)),
    )
    frames, _ = play(simulator, mixed, actions[:, 2:5], [1, 1, 1])
    first, _ = play(simulator, simulator.select(state, [0]), actions[:1, 2:5], [1, 1, 1])
    second, _ = play(simulator, simulator.select(late, [1]), actions[1:, 2:5], [1, 1, 1])
    torch.testing.assert_close(frames, torch.cat([first, second]), atol=1e-5, rtol=0)


def test_another_future_begins_at_the_newest_decision(simulator, state, actions, monkeypatch):
    """What was imagined since the anchor led up to both."""
    _, late = play(simulator, state, actions[:, :2], [1, 1])
    noises = []
    generate = simulator.generate
    monkeypatch.setattr(simulator, "generate", lambda *given: noises.append(given[-1]) or generate(*given))
    frames, _ = play(simulator, late, actions[:, 2:3], [1])
    same, _ = play(simulator, simulator.reseed(late, late.seed), actions[:, 2:3], [1])
    others, after = play(simulator, simulator.reseed(late, [7, 6]), actions[:, 2:3], [1])
    assert same.equal(frames)
    before, _, other = noises
    assert other[0, :2].equal(before[0, :2]) and not other[0, 2:].allclose(before[0, 2:])
    assert others[1].allclose(frames[1], atol=1e-5) and not others[0].allclose(frames[0], atol=1e-3)
    _, next_one = play(simulator, after, actions[:, 3:4], [1])
    assert next_one.anchor.taken.tolist() == [1, 4]
    assert next_one.anchor.context[0].equal(after.context[0, -2:])


def test_other_futures_from_the_start_are_those_of_their_seeds(simulator, state, actions):
    begun = simulator.begin_latents(state.context, TASKS, [7, 8])
    ours, _ = play(simulator, simulator.reseed(state, [7, 8]), actions[:, :4], [1, 1, 2])
    theirs, _ = play(simulator, begun, actions[:, :4], [1, 1, 2])
    assert ours.equal(theirs)


@pytest.mark.parametrize("every", [0, 31])
def test_bad_numbers(checkpoint, every):
    with pytest.raises(UserError, match=f"anchor_every={every} is out of range"):
        checkpoint.simulator(anchor_every=every)
