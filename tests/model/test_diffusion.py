"""What training asks of the network is what sampling takes from it."""

import pytest
import torch
from diffusers import DDIMScheduler

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.diffusion import corrupt, sample

SCHEDULERS = [
    DDIMScheduler(clip_sample=False),
    DDIMScheduler(clip_sample=False, prediction_type="v_prediction", rescale_betas_zero_snr=True),
]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=["epsilon", "velocity"])
def test_a_perfect_network_brings_the_data_back(scheduler):
    """Its answers are the training targets, so noising and denoising are inverse to each other."""
    torch.manual_seed(0)
    clean = torch.randn(2, 3, 4, 8, 8)
    calls = []

    def network(noisy, timestep):
        kept = scheduler.alphas_cumprod[timestep].view(-1, 1, 1, 1, 1)
        seen, target = corrupt(scheduler, clean, (noisy - kept.sqrt() * clean) / (1 - kept).sqrt(), timestep)
        torch.testing.assert_close(seen, noisy, rtol=1e-3, atol=1e-3)
        calls.append(timestep)
        return target

    result = sample(scheduler, network, torch.randn(2, 3, 4, 8, 8), steps=5)
    assert len(calls) == 5
    assert (result - clean).square().mean().sqrt() < 0.05
    with pytest.raises(UserError, match="prediction_type='sample'"):
        corrupt(DDIMScheduler(prediction_type="sample"), clean, clean, torch.tensor([3, 3]))
