"""Replayed steps learn what plain ones do. On CPUs a stand-in takes the place of CUDA graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sfvgen_plan.memory import captured as module
from sfvgen_plan.memory.captured import CapturedLearning, GraphRecorder, Step
from sfvgen_plan.memory.learning import FastLearning, Given, learn
from sfvgen_plan.memory.weights import Memory, fresh_memory
from sfvgen_plan.model.checkpoint import Checkpoint, CheckpointCard

SMALL = FastLearning(rank=4, alpha=8.0)
Teacher = Callable[..., tuple[Memory, Tensor]]


class Recorder:
    """Counts what is recorded, and does it as CUDA graphs do where there are none: the function runs before it is
    called, and its result is overwritten."""

    def __init__(self, device: torch.device) -> None:
        self.count = 0
        self.graphs = GraphRecorder(device) if device.type == "cuda" else None

    def __call__(self, step: Step) -> Step:
        self.count += 1
        if self.graphs is not None:
            return self.graphs(step)
        kept = step()

        def replay() -> Tensor:
            return kept.copy_(step())

        return replay


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def recorder(device) -> Recorder:
    return Recorder(device)


@pytest.fixture
def learning(pipeline, device, recorder) -> CapturedLearning:
    """With a denoiser of its own."""
    return CapturedLearning(copy.deepcopy(pipeline.unet).to(device), pipeline.scheduler, recorder)


@pytest.fixture
def plain(learning) -> Teacher:
    """``learn`` with the same denoiser."""
    return partial(learn, learning.unet, learning.scheduler)


@pytest.fixture
def frames(chunks, device) -> Tensor:
    return chunks.to(device)


@pytest.fixture
def numbers(seeds, device) -> Tensor:
    """The seeds."""
    return seeds.to(device)


def fresh(learning, numbers, settings=SMALL) -> Memory:
    return fresh_memory(learning.unet, numbers, settings.rank, settings.alpha, settings.targets)


def taught(teach: Teacher, memory: Memory, frames: Tensor, numbers: Tensor, *rest) -> tuple[Memory, Tensor]:
    """After all chunks, and the losses of the last."""
    for chunk in frames:
        memory, losses = teach(memory, chunk, numbers, *rest)
    return memory, losses


def weights_of(memory: Memory) -> list[Tensor]:
    return [*memory.down.values(), *memory.up.values()]


def moments_of(memory: Memory) -> list[Tensor]:
    return [moment for pair in memory.moments.values() for moment in pair]


def apart(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Norm of the difference, relative to ``theirs``: Adam turns the rounding of vanishing gradients into whole steps,
    so that single numbers say little."""
    difference = sum(float((a - b).double().square().sum()) for a, b in zip(ours, theirs, strict=True))
    return (difference / sum(float(b.double().square().sum()) for b in theirs)) ** 0.5


def assert_same(ours: Memory, theirs: Memory, exact: bool = True) -> None:
    assert ours.steps.tolist() == theirs.steps.tolist()
    assert ours.owner.tolist() == theirs.owner.tolist()
    assert apart(weights_of(ours), weights_of(theirs)) <= (1e-4 if exact else 1e-3)
    assert apart(moments_of(ours), moments_of(theirs)) <= (1e-3 if exact else 5e-2)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("episodes", "steps", "rule", "window"),
    [(1, 1, "local", None), (3, 4, "local", None), (3, 1, "local", 4), (1, 4, "output", None), (3, 2, "whole", 2)],
)
def test_replayed_steps_learn_what_plain_ones_do(
    learning, plain, recorder, device, frames, numbers, episodes, steps, rule, window, exact
):
    settings = replace(SMALL, steps=steps, rule=rule, window=window)
    frames, numbers = frames[:3, :episodes], numbers[:episodes]
    given = None
    if rule == "output":
        generator = torch.Generator().manual_seed(0)
        actions = torch.rand(episodes, frames.shape[2], 4, generator=generator) * 2 - 1
        given = Given(2, actions.to(device), torch.randn(episodes, 3, 16, generator=generator).to(device))
    start = fresh(learning, numbers)
    with torch.autocast(device.type, torch.bfloat16, enabled=not exact):
        ours, losses = taught(learning, start, frames, numbers, settings, given)
        theirs, expected = taught(plain, start, frames, numbers, settings, given)
    assert recorder.count == 1
    assert apart(weights_of(ours), weights_of(start)) > 3e-4
    assert_same(ours, theirs, exact)
    torch.testing.assert_close(losses, expected, rtol=1e-3 if exact else 5e-2, atol=0.0)


def test_memories_that_take_turns_stay_apart(learning, plain, recorder, frames, numbers):
    """Also where they take different numbers of steps on the same graph; nothing returned is overwritten."""
    few, many = SMALL, replace(SMALL, steps=3)
    first, second = fresh(learning, numbers), fresh(learning, numbers + 50)
    returned = []
    for chunk in frames[:3]:
        first, losses = learning(first, chunk, numbers, few)
        second, _ = learning(second, chunk.flip(0), numbers + 50, many)
        returned.append(
            (first, losses, [tensor.clone() for tensor in (*weights_of(first), *moments_of(first), losses)])
        )
    assert recorder.count == 1
    assert_same(first, taught(plain, fresh(learning, numbers), frames[:3], numbers, few)[0])
    assert_same(second, taught(plain, fresh(learning, numbers + 50), frames[:3].flip(1), numbers + 50, many)[0])
    for memory, losses, copies in returned:
        now = (*weights_of(memory), *moments_of(memory), losses)
        assert all(torch.equal(a, b) for a, b in zip(now, copies, strict=True))


def test_forks_learn_alone(learning, plain, frames, numbers):
    """A memory that episodes share is as good a start as one each."""
    shared = fresh(learning, numbers[:1]).select(numbers.new_zeros(2))
    for _ in range(2):
        ours, _ = learning(shared, frames[0, :2], numbers[:2], SMALL)
    assert_same(ours, plain(shared, frames[0, :2], numbers[:2], SMALL)[0])


def test_graphs_see_new_weights_of_the_denoiser(learning, plain, frames, numbers):
    start = fresh(learning, numbers)
    for _ in range(2):
        before, _ = learning(start, frames[0], numbers, SMALL)
    with torch.no_grad():
        for parameter in learning.unet.parameters():
            parameter.mul_(1.1)
    after, _ = learning(start, frames[0], numbers, SMALL)
    assert_same(after, plain(start, frames[0], numbers, SMALL)[0])
    assert apart(moments_of(after), moments_of(before)) > 1e-2


def test_only_kinds_that_come_again_are_captured_and_the_oldest_are_forgotten(
    learning, plain, recorder, frames, numbers, monkeypatch
):
    monkeypatch.setattr(module, "MOST_KINDS", 2)
    start, counts = fresh(learning, numbers), []
    for length in (1, 1, 2, 2, 1, 3, 3, 1, 2, 2):
        sequence = frames[0, :, :length]
        ours, _ = learning(start, sequence, numbers, SMALL)
        assert_same(ours, plain(start, sequence, numbers, SMALL)[0])
        counts.append(recorder.count)
    assert counts == [0, 1, 1, 2, 2, 2, 3, 3, 3, 4]  # when 3 came, 2 had to go


def test_large_batches_are_not_captured(learning, recorder, frames, numbers, monkeypatch):
    monkeypatch.setattr(module, "MOST_EPISODES", 2)
    taught(learning, fresh(learning, numbers), frames[:3], numbers, SMALL)
    assert recorder.count == 0
    taught(learning, fresh(learning, numbers[:2]), frames[:3, :2], numbers[:2], SMALL)
    assert recorder.count == 1


def test_the_denoiser_stays_trainable(learning, frames, numbers):
    taught(learning, fresh(learning, numbers), frames[:3], numbers, SMALL)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in learning.unet.parameters())


def test_on_a_cpu_it_is_plain_learning(pipeline, unet, seeds, chunks):
    start = fresh_memory(unet, seeds, SMALL.rank, SMALL.alpha)
    ours, losses = taught(CapturedLearning(unet, pipeline.scheduler), start, chunks[:2], seeds, SMALL)
    theirs, expected = taught(partial(learn, unet, pipeline.scheduler), start, chunks[:2], seeds, SMALL)
    assert torch.equal(losses, expected)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(ours), weights_of(theirs), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [True, False])
def test_a_simulator_remembers_through_graphs(make_pipeline, monkeypatch, exact):
    """Its states are inference tensors, and its precision is its own."""
    pipeline = make_pipeline(unet_widths=(16, 16), head_dim=8, norm_groups=8).to("cuda")
    card = CheckpointCard({"reach-v3": "reach the red goal"}, size=32, camera="corner4", repeat=5)
    simulator = Checkpoint(pipeline, card, {}, Path("untrained")).simulator(1, SMALL, exact)
    latents = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).cuda()
    start = simulator.begin_latents(latents, ["reach-v3"] * 2, [4, 5])
    played = []
    for _ in range(4):
        state, _ = simulator.imagine(start, torch.zeros(2, 8, 4, device="cuda"))
        start = replace(start, memory=simulator.remember(state).memory)
        played.append((state, start.memory))
    monkeypatch.setattr(module, "MOST_EPISODES", 0)
    for state, memory in played:
        assert_same(memory, simulator.remember(state).memory, exact)
