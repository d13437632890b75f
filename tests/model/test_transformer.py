"""The contract of the causal video transformer."""

from dataclasses import replace

import pytest
import torch

from sfvgen_plan.model.attention import Window
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import denoised, noise_levels, target
from sfvgen_plan.model.transformer import VideoTransformer

FRAMES, WINDOW = 18, 4  # longer than two chunks of the memory


@pytest.fixture(
    scope="module", params=[("lora", ()), ("lora", (0, 2)), ("recall", (1, 2))], ids=["plain", "lora", "recall"]
)
def network(request):
    torch.manual_seed(0)
    made = VideoTransformer(
        height=8, width=4, latent_channels=3, text_dim=5, readouts=2, window=WINDOW, dim=32, depth=3, heads=2,
        conditioning=16, squeezed=4, memory=request.param[0],
        memory_blocks=request.param[1], memory_rank=8, memory_beginning=request.param[1][1:],
    ).eval()  # fmt: skip
    torch.nn.init.normal_(made.out.weight, std=0.2)
    return made


def known(frames=FRAMES, seed=1):
    torch.manual_seed(seed)
    actions = torch.rand(2, frames, 4) * 2 - 1
    return Condition(actions, torch.ones(2, frames), actions.cumsum(1), torch.randn(2, frames, 5))


def part(whole, frames):
    return Condition(whole.actions[:, frames], whole.given[:, frames], whole.place[:, frames], whole.text[:, frames])


def shown(whole, frame):
    """What a clean frame is told: the text of the decision that follows it."""
    text = whole.text[:, min(frame + 1, whole.text.shape[1] - 1)]
    return replace(part(whole, slice(frame, frame + 1)), text=text[:, None])


def real(count):
    return torch.zeros(count, 1, dtype=torch.bool)


def frames_of(network, count=FRAMES, seed=2):
    torch.manual_seed(seed)
    return network.patches(torch.randn(2, count, 3, 8, 4))


def test_patches_are_squares_of_the_picture(network):
    latents = torch.randn(2, 5, 3, 8, 4)
    patches = network.patches(latents)
    assert patches.shape == (2, 5, 8, 12) and torch.equal(network.latents(patches), latents)
    assert torch.equal(patches[0, 0, 3].view(3, 2, 2), latents[0, 0, :, 2:4, 2:4])  # second row, second column


@torch.no_grad()
@pytest.mark.parametrize("steps", [[18], [1] * 18, [7, 1, 10]], ids=str)
def test_cached_equals_uncached_however_frames_come(network, steps):
    clean, noise, told = frames_of(network), torch.full((2, FRAMES), 0.1), known()
    noisy, level = frames_of(network, seed=3), torch.rand(2, FRAMES) * 3 + 0.1
    output, features = network.training_pass(clean, noise, noisy, level, told)
    cache, at = network.empty(2), 0
    for count in steps:
        window = Window(cache, network.tokens)
        for g in range(count):
            one = slice(at + g, at + g + 1)
            made = network.denoise(window, g, noisy[:, one], level[:, one], part(told, one))
            assert torch.allclose(made, denoised(output[:, one], noisy[:, one], level[:, one]), atol=1e-5)
            found = network.look(window, g, clean[:, one], noise[:, one], shown(told, at + g), real(2))
            assert torch.allclose(found, features[:, one], atol=1e-5)
        cache, at = window.cache(count), at + count
    assert cache.index.tolist() == [FRAMES, FRAMES] and (cache.least, cache.most) == (FRAMES, FRAMES)


@torch.no_grad()
def test_what_comes_later_never_changes_what_was_before(network):
    clean, noise = frames_of(network), torch.zeros(2, FRAMES)
    level = torch.ones(2, FRAMES)
    output, features = network.training_pass(clean, noise, clean + 1, level, known())
    other = known()
    other.actions[:, 4:] += 0.5
    other.place[:, 4:] += 0.5
    other.text[:, 5:] += 1
    changed = clean.clone()
    changed[:, 4:] += 1
    later, later_features = network.training_pass(changed, noise, changed + 1, level, other)
    assert torch.equal(output[:, :4], later[:, :4]) and torch.equal(features[:, :4], later_features[:, :4])
    assert not torch.allclose(output[:, 4:], later[:, 4:])


@torch.no_grad()
def test_frames_that_left_the_window_are_not_seen(network):
    clean, noise, told = frames_of(network), torch.zeros(2, FRAMES), known()
    shallow = VideoTransformer.from_config({**network.config, "depth": 1, "memory_blocks": ()}).eval()
    before = shallow.training_pass(clean, noise, clean, noise + 1, told)[1]
    clean[:, 0] += 1
    after = shallow.training_pass(clean, noise, clean, noise + 1, told)[1]
    assert not torch.allclose(before[:, WINDOW], after[:, WINDOW])
    assert torch.equal(before[:, WINDOW + 1], after[:, WINDOW + 1])


@torch.no_grad()
def test_an_action_that_is_not_given_does_not_matter(network):
    clean, noise, told = frames_of(network), torch.zeros(2, FRAMES), known()
    given = (Condition(actions, noise, told.place, told.text) for actions in (told.actions, -told.actions))
    hidden, other = (network.training_pass(clean, noise, clean, noise + 1, each)[0] for each in given)
    assert torch.equal(hidden, other)


def test_target_and_denoised_are_inverse_and_noise_levels_fall_from_highest_to_lowest():
    clean, level = torch.randn(2, 3, 4, 5), torch.tensor([[0.02, 1.0, 20.0]] * 2)
    noisy = clean + level[..., None, None] * torch.randn(clean.shape)
    assert torch.allclose(denoised(target(clean, noisy, level), noisy, level), clean, atol=1e-4)
    levels = noise_levels(4, 20.0, 0.02)
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == pytest.approx(20.0) and levels[-1] == pytest.approx(0.02) and noise_levels(1) == [20.0]
