"""Fast learning: no effect at first, learns, and keeps episodes apart as separate PEFT adapters would."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning, episode_losses, learn
from sfvgen_plan.memory.weights import applied, fresh_memory
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW

SMALL = FastLearning(rank=4, alpha=8.0)
EAGER = FastLearning(rank=4, alpha=8.0, learning_rate=3e-3)


def fresh(unet, seeds, settings=SMALL):
    return fresh_memory(unet, seeds, settings.rank, settings.alpha, settings.targets)


def denoise(unet, frames, memory=None):
    """One conditioned pass of the denoiser over (N, T, C, h, w)."""
    generator = torch.Generator().manual_seed(0)
    flags = torch.zeros(frames.shape[:2])
    actions = torch.rand(*frames.shape[:2], 4, generator=generator)
    text = torch.randn(len(frames), 3, 16, generator=generator)
    with torch.inference_mode(), applied(unet, memory):
        return unet.denoise(frames, flags, actions, 1 - flags, torch.full((len(frames),), 0.3), text)


def relative(ours, theirs):
    """Norm of the difference of two lists of tensors, relative to ``theirs``."""
    difference = sum(float((a - b).double().square().sum()) for a, b in zip(ours, theirs, strict=True))
    return (difference / sum(float(b.double().square().sum()) for b in theirs)) ** 0.5


def test_a_fresh_memory_has_no_effect(unet, seeds, chunks):
    assert torch.equal(denoise(unet, chunks[0], fresh(unet, seeds)), denoise(unet, chunks[0]))


def test_learning_changes_the_output_but_not_the_model(pipeline, unet, seeds, chunks):
    before, weights = denoise(unet, chunks[0]), copy.deepcopy(unet.state_dict())
    memory, _ = learn(unet, pipeline.scheduler, fresh(unet, seeds), chunks[0], seeds, SMALL)
    assert not torch.equal(denoise(unet, chunks[0], memory), before)
    assert torch.equal(denoise(unet, chunks[0]), before)
    assert all(torch.equal(weights[name], value) for name, value in unet.state_dict().items())
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_learning_lowers_the_loss_of_a_repeated_sequence(pipeline, unet, seeds, chunks):
    def loss(memory):
        # Many draws of noise: one draw says more about its level than about the memory.
        with torch.no_grad(), applied(unet, memory):
            draws = [
                episode_losses(unet, pipeline.scheduler, chunks[0], seeds, torch.full_like(seeds, 1000 + draw))
                for draw in range(4)
            ]
        return torch.stack(draws).mean(0)

    memory = fresh(unet, seeds)
    before = loss(memory)
    for _ in range(16):
        memory, _ = learn(unet, pipeline.scheduler, memory, chunks[0], seeds, EAGER)
    assert (loss(memory) < 0.97 * before).all()
    assert memory.steps.tolist() == [16] * len(seeds)


def test_several_steps_per_chunk_are_as_many_calls(pipeline, unet, seeds, chunks):
    twice = FastLearning(rank=4, alpha=8.0, steps=2)
    once, _ = learn(unet, pipeline.scheduler, fresh(unet, seeds), chunks[0], seeds, twice)
    memory = fresh(unet, seeds)
    for _ in range(2):
        memory, _ = learn(unet, pipeline.scheduler, memory, chunks[0], seeds, SMALL)
    assert all(torch.equal(memory.up[layer], once.up[layer]) for layer in memory.up)


def test_a_batch_of_episodes_learns_as_separate_peft_adapters_do(pipeline, unet, seeds, chunks):
    start = fresh(unet, seeds)
    memory = start
    for chunk in chunks[:5]:
        memory, _ = learn(unet, pipeline.scheduler, memory, chunk, seeds, SMALL)
    outputs = denoise(unet, chunks[5], memory)
    for n in range(len(seeds)):
        alone = copy.deepcopy(unet)
        config = LoraConfig(r=SMALL.rank, lora_alpha=8, lora_dropout=0.0, target_modules=list(SMALL.targets))
        inject_adapter_in_model(config, alone)
        pairs = {
            f"{layer}.{peft}.default.weight": (initial[layer][n], learnt[layer][n])
            for peft, initial, learnt in (("lora_A", start.down, memory.down), ("lora_B", start.up, memory.up))
            for layer in initial
        }
        adapter = {name: value for name, value in alone.named_parameters() if "lora_" in name}
        assert adapter.keys() == pairs.keys()
        with torch.no_grad():
            for name, value in adapter.items():
                value.copy_(pairs[name][0])
        adam = torch.optim.Adam(adapter.values(), lr=SMALL.learning_rate)
        one = slice(n, n + 1)
        for step, chunk in enumerate(chunks[:5]):
            adam.zero_grad()
            episode_losses(alone, pipeline.scheduler, chunk[one], seeds[one], torch.tensor([step])).sum().backward()
            adam.step()
        initial, ours = ([pair[i] for pair in pairs.values()] for i in (0, 1))
        theirs = [adapter[name].detach() for name in pairs]
        assert relative(ours, theirs) <= 1e-4
        # What was learnt is small beside A's start. Adam blows the rounding of vanishing gradients up, hence the room.
        change = [[b - a for a, b in zip(initial, side, strict=True)] for side in (ours, theirs)]
        assert relative(*change) <= 1e-3
        assert relative([outputs[n]], [denoise(alone, chunks[5])[n]]) <= 1e-4


def test_an_episode_learns_the_same_in_any_batch(pipeline, unet, seeds, chunks):
    together, _ = learn(unet, pipeline.scheduler, fresh(unet, seeds), chunks[0], seeds, SMALL)
    strangers, _ = learn(
        unet,
        pipeline.scheduler,
        fresh(unet, torch.tensor([99, int(seeds[1])])),
        torch.stack([100 * chunks[3][0], chunks[0][1]]),
        torch.tensor([99, int(seeds[1])]),
        SMALL,
    )
    ours, theirs = ([memory.up[layer][1] for layer in memory.up] for memory in (together, strangers))
    assert relative(ours, theirs) <= 1e-3


def test_forks_share_weights_without_copies(unet, seeds, chunks):
    memory = fresh(unet, seeds)
    forks = memory.select(torch.arange(len(seeds)).repeat_interleave(64))
    assert all(forks.down[layer] is memory.down[layer] and forks.up[layer] is memory.up[layer] for layer in memory.up)
    assert len(forks.owner) == 64 * len(seeds)


@pytest.mark.parametrize("index", [[0, 0, 1, 1, 2, 2], [2, 0, 2]])
def test_forks_play_with_their_episodes_memory(pipeline, unet, seeds, chunks, index):
    memory, _ = learn(unet, pipeline.scheduler, fresh(unet, seeds, EAGER), chunks[0], seeds, EAGER)
    index = torch.tensor(index)
    frames = chunks[1][:1].expand(len(index), -1, -1, -1, -1)
    forked = denoise(unet, frames, memory.select(index))
    copied = denoise(unet, frames, memory.select(index).owned())
    assert torch.allclose(forked, copied, atol=1e-5)


def test_a_fork_learns_alone(pipeline, unet, seeds, chunks):
    memory = fresh(unet, seeds)
    forks = memory.select(torch.tensor([0, 0]))
    learnt, _ = learn(unet, pipeline.scheduler, forks, chunks[0][:2], seeds[:1].expand(2), SMALL)
    assert any(not torch.equal(up[0], up[1]) for up in learnt.up.values())
    assert not any(up.any() for up in memory.up.values())


def test_a_chunk_of_several_passes_is_remembered_whole(checkpoint, seeds):
    simulator = checkpoint.simulator(sampler_steps=1, memory=SMALL, exact=True)
    start = checkpoint.starts["reach-v3"].expand(len(seeds), 1, -1, -1, -1)
    state = simulator.begin_latents(start, ["reach-v3"] * len(seeds), seeds)
    made = [state.context]
    for _ in range(4):
        state, outcome = simulator.imagine(state, torch.zeros(len(seeds), 1, 4))
        made.append(outcome.latents)
    assert torch.equal(state.context, torch.cat(made, dim=1))
    after = simulator.remember(state)
    expected, _ = learn(
        simulator.pipeline.unet, simulator.pipeline.scheduler, state.memory, state.context, seeds, SMALL
    )
    assert all(torch.equal(after.memory.up[layer], expected.up[layer]) for layer in expected.up)
    assert torch.equal(after.context, state.context[:, -simulator.context_frames :])
    assert state.memory.steps.tolist() == [0] * len(seeds)


def test_frames_to_remember_are_bounded(checkpoint):
    simulator = checkpoint.simulator(sampler_steps=1, memory=SMALL)
    state = simulator.begin_latents(checkpoint.starts["reach-v3"][None], ["reach-v3"], [0])
    for _ in range(3):
        state, outcome = simulator.imagine(state, torch.zeros(1, 15, 4))
    assert state.context.shape[1] == CONTEXT_WINDOW
    assert torch.equal(state.context[:, -15:], outcome.latents)


def test_without_memory_there_is_nothing_to_remember(checkpoint):
    simulator = checkpoint.simulator(sampler_steps=1)
    state = simulator.begin_latents(checkpoint.starts["reach-v3"][None], ["reach-v3"], [0])
    with pytest.raises(UserError, match="memory=None"):
        simulator.remember(state)


def test_some_episodes_get_other_memories_and_the_rest_keep_theirs(pipeline, unet, seeds, chunks):
    """Also where the episodes were forks that shared one; the memories that went in are left as they were."""
    learnt, _ = learn(unet, pipeline.scheduler, fresh(unet, seeds), chunks[0], seeds, EAGER)
    forks = learnt.select(torch.tensor([0, 0, 1, 2]))
    new = fresh(unet, torch.tensor([90, 91]))
    merged = forks.replaced(torch.tensor([1, 2]), new)
    assert merged.steps.tolist() == [1, 0, 0, 1]
    assert merged.owner.tolist() == [0, 1, 2, 3]
    for part in ("down", "up"):
        for layer, values in getattr(merged, part).items():
            old, given = getattr(learnt, part)[layer], getattr(new, part)[layer]
            assert torch.equal(values, torch.stack([old[0], given[0], given[1], old[2]]))
    for name, pair in merged.moments.items():
        for values, old in zip(pair, learnt.moments[name], strict=True):
            assert torch.equal(values[[0, 3]], old[[0, 2]])
            assert not values[1:3].any()
    assert forks.owner.tolist() == [0, 0, 1, 2]


def test_the_noise_learnt_from(monkeypatch, make_pipeline):
    """A step with ``log_mean`` 2 sees e^2 times the noise that it sees with 0."""
    from sfvgen_plan.model import diffusion

    pipeline, seeds, levels = make_pipeline(), torch.arange(2), []
    corrupt = diffusion.corrupt

    def noted(scheduler, latents, noise, level):
        levels.append(level)
        return corrupt(scheduler, latents, noise, level)

    monkeypatch.setattr(diffusion, "corrupt", noted)
    plain = FastLearning(rank=2)
    for settings in (plain, replace(plain, log_mean=2.0)):
        memory = fresh_memory(pipeline.unet, seeds, 2, 32.0)
        learn(pipeline.unet, pipeline.scheduler, memory, torch.randn(2, 3, 4, 8, 8), seeds, settings)
    torch.testing.assert_close(levels[1], levels[0] * math.e**2)
