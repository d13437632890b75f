"""Memory layers learn to recall what left the window: strips of random latents under a window of four columns."""

import pytest
import torch
from made_up import training_data

from sfvgen_plan.learning.recipe import VideoSettings
from sfvgen_plan.learning.video import VideoObjective, VideoStage
from sfvgen_plan.model.condition import Condition
from sfvgen_plan.model.noise import denoised
from sfvgen_plan.model.transformer import VideoTransformer

EPISODES, FRAMES, WINDOW, REACH = 300, 40, 4, 8


def walks():
    """Actions (E, F, 1), -1 or 1, that seldom turn round, and which frames (E, F) show a place that left the window."""
    draw = torch.Generator().manual_seed(1)
    turned = torch.where(torch.rand(EPISODES, FRAMES, generator=draw) < 0.08, -1.0, 1.0)
    actions, place, heading = torch.zeros(EPISODES, FRAMES, 1), torch.zeros(EPISODES), torch.ones(EPISODES)
    places = [place]
    for t in range(1, FRAMES):
        heading = heading * turned[:, t]
        heading = torch.where((place + heading).abs() > REACH, -heading, heading)
        place = place + heading
        actions[:, t, 0] = heading
        places.append(place)
    at = torch.stack(places, 1)
    gap = torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)
    earlier = (at[:, :, None] == at[:, None]) & (gap > 0)
    lately = (earlier & (gap <= WINDOW + 8)).any(2)
    return actions, earlier.any(2) & ~lately


def world():
    actions, again = walks()
    strips = torch.randn(EPISODES, 2, 4, 2 * REACH + 8, generator=torch.Generator().manual_seed(2))
    columns = (actions.cumsum(1).long() + REACH) + torch.arange(4)  # (E, F, 4)
    index = columns[:, :, None, None].expand(-1, -1, 2, 4, -1)
    latents = strips[:, None].expand(-1, FRAMES, -1, -1, -1).gather(4, index).flatten(0, 1)
    held_out = torch.arange(EPISODES * FRAMES) // FRAMES >= 270
    return training_data(EPISODES, actions.flatten(0, 1), held_out=held_out, latents=latents), again


@torch.no_grad()
def error(network, data, chosen):
    """Of frames of held-out episodes that are made from nearly nothing but noise."""
    assert data.latents is not None
    held = slice(270 * FRAMES, None)
    tokens = network.patches(data.latents[held].unflatten(0, (-1, FRAMES)))
    actions = data.action[held].unflatten(0, (-1, FRAMES))
    level = torch.full(tokens.shape[:2], 5.0)
    noisy = tokens + 5 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(3))
    known = Condition(actions, torch.ones_like(level), actions.cumsum(1), torch.zeros(len(tokens), 1, 1))
    output, _ = network.training_pass(tokens, torch.full_like(level, 0.02), noisy, level, known)
    return float((denoised(output, noisy, level) - tokens).square().mean((-1, -2))[chosen[270:]].mean())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "recall"])
def test_places_are_recalled_that_left_the_window(kind):
    data, again = world()
    assert again[270:].sum() > 100
    errors = {}
    for blocks in ((), (1, 2)):
        torch.manual_seed(0)
        network = VideoTransformer(
            height=4, width=4, latent_channels=2, action_dim=1, text_dim=1, readouts=1, window=WINDOW, dim=64, depth=3,
            heads=2, conditioning=32, squeezed=4, memory=kind, memory_blocks=blocks, memory_rank=32,
            estimate_mean=[0.0], estimate_std=[1.0],
        )  # fmt: skip
        settings = VideoSettings(frames=FRAMES, dream=0.0, log_mean=0.8, context_noise=0.1, drop_action=0.0)
        objective = VideoObjective(network, settings)
        stage = VideoStage(data, objective, torch.zeros(1, 1), settings)
        optimizer, draw = torch.optim.AdamW(network.parameters(), 1.5e-3), torch.Generator().manual_seed(0)
        for step in range(150):
            loss = objective(**stage.batch(step, 16, draw, objective))["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        errors[len(blocks)] = error(network, data, again)
    assert errors[2] < 0.5 * errors[0], errors
