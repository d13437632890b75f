"""What the denoiser is told of every frame."""

import pytest
import torch

from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.unet import SUMMED


@pytest.fixture
def told(modelscope):
    """Calls the denoiser on latents, clean, actions, given; returns the further input channels (B, T, channels)."""
    unet = SlowFastVGenPipeline.from_modelscope(str(modelscope[1])).unet
    seen = []
    unet.conv_in.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    @torch.no_grad()
    def call(latents, clean, actions, given):
        size, frames, channels = latents.shape[:3]
        text = torch.zeros(size, 3, unet.config.cross_attention_dim)
        unet.denoise(latents, clean, actions, given, torch.ones(size), text)
        inputs = seen.pop().unflatten(0, (size, frames))
        assert inputs.shape[2] == unet.conv_in.in_channels
        return inputs[:, :, channels:]

    return call, unet.config.latent_channels, unet.config.action_dim


def test_every_frame_is_told_the_sum_of_the_actions_since_the_last_clean_frame(told):
    call, channels, numbers = told
    clean = torch.tensor([[1.0, 1, 0, 0, 0]])
    actions = torch.randn(1, 5, numbers)
    sums = call(torch.randn(1, 5, channels, 8, 8), clean, actions, 1 - clean)[0, :, 2 + numbers : 2 + 2 * numbers, 3, 3]
    assert not sums[:2].any()
    torch.testing.assert_close(sums[2:] * SUMMED, actions[0, 2:].cumsum(0))
    none = torch.zeros(1, 3)
    dropped = call(torch.randn(1, 3, channels, 8, 8), none, torch.randn(1, 3, numbers), none)
    assert not dropped.any()  # a dropped action adds nothing


def test_every_frame_is_shown_the_last_clean_one(told):
    call, channels, numbers = told
    clean = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    latents = torch.randn(3, 4, channels, 8, 8)
    shown = call(latents, clean, torch.randn(3, 4, numbers), 1 - clean)[:, :, -channels:]
    for frame in range(4):
        assert shown[0, frame].equal(latents[0, 1])
        assert shown[1, frame].equal(latents[1, 0])
        assert not shown[2, frame].any()
