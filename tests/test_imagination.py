"""Imagined episodes are values: what follows depends on them and the actions alone."""

from dataclasses import fields, replace

import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination, Imaginer
from sfvgen_plan.model.transformer import VideoTransformer

COUNT = 3


@pytest.fixture(scope="module", params=[("lora", ()), ("lora", (1,)), ("recall", (1,))], ids=str)
def imaginer(request):
    torch.manual_seed(0)
    network = VideoTransformer(
        height=4, width=4, latent_channels=3, text_dim=5, readouts=2, window=3, dim=32, depth=2, heads=2,
        conditioning=16, squeezed=4, reward_scale=10.0, estimate_mean=[1.0, 2.0], estimate_std=[0.5, 0.1],
        memory=request.param[0], memory_blocks=request.param[1], memory_rank=8,
    ).eval()  # fmt: skip
    torch.nn.init.normal_(network.out.weight, std=0.2)
    network.requires_grad_(False)
    return Imaginer(network, sampler_steps=2, terminates=True)


def begun(imaginer, count=COUNT, frames=1):
    torch.manual_seed(1)
    latents, text = torch.randn(COUNT, frames, 3, 4, 4), torch.randn(COUNT, 5)
    return imaginer.begun(latents[:count], text[:count], torch.zeros(count, dtype=torch.int64), torch.arange(count) + 7)


def actions(decisions):
    torch.manual_seed(2)
    return torch.rand(COUNT, decisions, 4) * 2 - 1


def numbers(value):
    if isinstance(value, Imagination):
        return list(value.tensors().values())
    return [getattr(value, field.name) for field in fields(value)]


def same(ours, theirs):
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(numbers(ours), numbers(theirs), strict=True))


def test_decisions_in_a_row_equal_one_at_a_time(imaginer):
    start, held = begun(imaginer), actions(5)
    after, outcome = imaginer.imagine(start, held)
    single, rewards = start, []
    for g in range(5):
        single, one = imaginer.imagine(single, held[:, g : g + 1])
        rewards.append(one.reward)
    assert torch.allclose(torch.cat(rewards, 1), outcome.reward, atol=1e-4) and same(after, single)
    assert outcome.reward.shape == (COUNT, 5) and outcome.latents.shape == (COUNT, 5, 3, 4, 4)
    assert torch.allclose(imaginer.read(after).reward, outcome.reward[:, -1:], atol=1e-4)


def test_a_policy_plays_on_what_it_is_shown(imaginer):
    start = begun(imaginer)
    after, outcome, played = imaginer.play(start, lambda g, features: 0.1 * g + features[:, :4].tanh() / 2, 4)
    assert torch.allclose(played[:, 0], start.features[:, :4].tanh() / 2)
    expected, same_outcome = imaginer.imagine(start, played)
    assert same(outcome, same_outcome) and same(after, expected)


def test_the_same_seed_gives_the_same_in_any_batch_and_nothing_is_changed_in_place(imaginer):
    start, held = begun(imaginer), actions(4)
    before = [part.clone() for part in numbers(start)]
    after, outcome = imaginer.imagine(start, held)
    again, repeated = imaginer.imagine(start, held)
    assert all(torch.equal(a, b) for a, b in zip(numbers(outcome), numbers(repeated), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(numbers(start), before, strict=True))
    alone = imaginer.imagine(start.select(torch.tensor([1])), held[1:2])[1]
    assert torch.allclose(alone.latents, outcome.latents[1:2], atol=1e-5)
    other = imaginer.imagine(replace(start, seed=start.seed + 1), held)[1]
    assert not torch.allclose(other.latents, outcome.latents) and same(after, again)
    # Real frames take the place of imagined ones.
    shown = imaginer.observe_latents(start, outcome.latents, held)
    assert same(shown, after)  # shown what it imagined, it is where it was


def test_forks_go_on_independently_and_episodes_of_any_age_are_put_into_a_batch(imaginer):
    start = begun(imaginer)
    forks = start.select(torch.tensor([0, 0, 2]))
    after, outcome = imaginer.imagine(forks, actions(6))  # so that a chunk of the memory ends soon in one alone
    assert not torch.allclose(outcome.latents[0], outcome.latents[1])
    merged = start.replaced(torch.tensor([1]), after.select(torch.tensor([2])))
    parts = [state.select(torch.tensor([n])) for state, n in ((start, 0), (after, 2), (start, 2))]
    assert same(Imagination.join(parts), merged)
    both = imaginer.imagine(merged, actions(2))[1]
    alone = imaginer.imagine(after.select(torch.tensor([2])), actions(2)[1:2])[1]
    assert torch.allclose(both.latents[1:2], alone.latents, atol=1e-5)
    untouched = imaginer.imagine(start, actions(2))[1]
    assert torch.allclose(both.latents[0], untouched.latents[0], atol=1e-5)


def test_gradients_flow_from_rewards_to_every_action(imaginer):
    start = begun(imaginer, frames=2)
    assert not imaginer.imagine(start, actions(3))[1].reward.requires_grad
    held = actions(3).requires_grad_()
    imaginer.imagine(start, held)[1].reward[:, -1].sum().backward()
    assert held.grad is not None and bool((held.grad.abs().sum(-1) > 0).all())


def test_videos_follow_the_text_alone(imaginer):
    start = begun(imaginer)
    end, video, found = imaginer.dreamt(start, 4)
    assert video.shape == (COUNT, 4, 3, 4, 4) and found.shape == (COUNT, 4, 4) and bool((found.abs() <= 1).all())
    assert torch.allclose(imaginer.dreamt(start, 4)[1], video)
    assert not torch.allclose(imaginer.dreamt(replace(start, text=-start.text), 4)[1], video)
    assert torch.allclose(end.place, start.place + found.sum(1)) and torch.equal(end.text, start.text)


def test_units_are_the_environments(imaginer):
    outcome = imaginer.read(begun(imaginer))
    said = imaginer.network.read(begun(imaginer).features[:, None])
    assert torch.allclose(outcome.reward, said.reward * 10)
    assert torch.allclose(outcome.estimates, said.estimates * torch.tensor([0.5, 0.1]) + torch.tensor([1.0, 2.0]))


def test_actions_that_do_not_fit_are_refused(imaginer):
    start = begun(imaginer)
    for shape in ((COUNT, 4), (COUNT, 0, 4), (COUNT, 2, 3), (1, 2, 4)):
        with pytest.raises(UserError, match=r"actions of shape .* don't fit; give \(3, G, 4\)"):
            imaginer.imagine(start, torch.zeros(shape))
    with pytest.raises(UserError, match="NaN"):
        imaginer.imagine(start, torch.full((COUNT, 1, 4), torch.nan))
