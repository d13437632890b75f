"""Imagined episodes are values: what follows depends on them and the actions alone."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Episodes, Imagination, Imagined
from sfvgen_plan.model.cache import Cache
from sfvgen_plan.model.transformer import VideoTransformer

COUNT = 3


@pytest.fixture(scope="module")
def imagination() -> Imagination:
    torch.manual_seed(0)
    network = VideoTransformer(
        height=4, width=4, latent_channels=3, text_dim=5, readouts=2, window=3, dim=32, depth=2, heads=2,
        conditioning=16, squeezed=4, reward_scale=10.0, estimate_mean=[1.0, 2.0], estimate_std=[0.5, 0.1],
    ).eval()  # fmt: skip
    torch.nn.init.normal_(network.out.weight, std=0.2)
    network.requires_grad_(False)
    return Imagination(network, sampler_steps=2)


def begun(imagination: Imagination, count: int = COUNT, frames: int = 1) -> Episodes:
    torch.manual_seed(1)
    latents, text = torch.randn(COUNT, frames, 3, 4, 4), torch.randn(COUNT, 5)
    return imagination.begin(latents[:count], text[:count], torch.arange(count) + 7)


def actions(decisions: int) -> Tensor:
    torch.manual_seed(2)
    return torch.rand(COUNT, decisions, 4) * 2 - 1


def numbers(value: Imagined | Episodes) -> list[Tensor]:
    found = []
    for field in fields(value):
        part = getattr(value, field.name)
        found += [part.keys, part.values, part.index] if isinstance(part, Cache) else [part]
    return found


def same(ours: Imagined | Episodes, theirs: Imagined | Episodes) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(numbers(ours), numbers(theirs), strict=True))


@torch.no_grad()
def test_decisions_in_a_row_equal_one_at_a_time(imagination: Imagination) -> None:
    start, held = begun(imagination), actions(5)
    after, outcome = imagination.imagine(start, held)
    single, rewards = start, []
    for g in range(5):
        single, one = imagination.imagine(single, held[:, g : g + 1])
        rewards.append(one.reward)
    assert torch.allclose(torch.cat(rewards, 1), outcome.reward, atol=1e-4) and same(after, single)
    assert outcome.reward.shape == (COUNT, 5) and outcome.latents.shape == (COUNT, 5, 3, 4, 4)
    assert torch.allclose(imagination.read(after).reward, outcome.reward[:, -1:], atol=1e-4)


@torch.no_grad()
def test_the_same_seed_gives_the_same_in_any_batch_and_nothing_is_changed_in_place(imagination: Imagination) -> None:
    start, held = begun(imagination), actions(4)
    before = [part.clone() for part in numbers(start)]
    after, outcome = imagination.imagine(start, held)
    again, repeated = imagination.imagine(start, held)
    assert all(torch.equal(a, b) for a, b in zip(numbers(outcome), numbers(repeated), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(numbers(start), before, strict=True))
    alone = imagination.imagine(start.select(torch.tensor([1])), held[1:2])[1]
    assert torch.allclose(alone.latents, outcome.latents[1:2], atol=1e-5)
    other = imagination.imagine(start.reseeded(start.seed + 1), held)[1]
    assert not torch.allclose(other.latents, outcome.latents) and same(after, again)


@torch.no_grad()
def test_real_frames_take_the_place_of_imagined_ones(imagination: Imagination) -> None:
    start, held = begun(imagination), actions(3)
    after, outcome = imagination.imagine(start, held)
    shown = imagination.observe(start, outcome.latents, held)
    assert same(shown, after)  # shown what it imagined, it is where it was


@torch.no_grad()
def test_forks_go_on_independently_and_episodes_are_put_into_a_batch(imagination: Imagination) -> None:
    start = begun(imagination)
    forks = start.select(torch.tensor([0, 0, 2]))
    after, outcome = imagination.imagine(forks, actions(2))
    assert not torch.allclose(outcome.latents[0], outcome.latents[1])
    merged = start.replaced(torch.tensor([1]), after.select(torch.tensor([2])))
    both = imagination.imagine(merged, actions(2))[1]
    alone = imagination.imagine(after.select(torch.tensor([2])), actions(2)[1:2])[1]
    assert torch.allclose(both.latents[1:2], alone.latents, atol=1e-5)
    untouched = imagination.imagine(start, actions(2))[1]
    assert torch.allclose(both.latents[0], untouched.latents[0], atol=1e-5)


def test_gradients_flow_from_rewards_to_every_action(imagination: Imagination) -> None:
    with torch.no_grad():
        start = begun(imagination, frames=2)
    held = actions(3).requires_grad_()
    imagination.imagine(start, held)[1].reward[:, -1].sum().backward()
    assert held.grad is not None and bool((held.grad.abs().sum(-1) > 0).all())


@torch.no_grad()
def test_units_are_the_environments(imagination: Imagination) -> None:
    outcome = imagination.read(begun(imagination))
    said = imagination.network.read(begun(imagination).features[:, None])
    assert torch.allclose(outcome.reward, said.reward * 10)
    assert torch.allclose(outcome.estimates, said.estimates * torch.tensor([0.5, 0.1]) + torch.tensor([1.0, 2.0]))


@pytest.mark.parametrize("shape", [(COUNT, 4), (COUNT, 0, 4), (COUNT, 2, 3), (1, 2, 4)])
def test_actions_that_do_not_fit_are_refused(imagination: Imagination, shape: tuple[int, ...]) -> None:
    start = begun(imagination)
    with pytest.raises(UserError, match=r"actions of shape .* don't fit; give \(3, G, 4\)"):
        imagination.imagine(start, torch.zeros(shape))
    with pytest.raises(UserError, match="NaN"):
        imagination.imagine(start, torch.full((COUNT, 1, 4), torch.nan))
