"""What training asks of the network is what sampling takes from it, for every kind of scheduler."""

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EDMEulerScheduler, EulerDiscreteScheduler

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.diffusion import corrupt, is_edm, noise_level, sample

SCHEDULERS = {
    "EDM epsilon": EDMEulerScheduler(sigma_min=0.02, sigma_max=20.0, sigma_data=1.0),
    "EDM velocity": EDMEulerScheduler(sigma_min=0.02, sigma_max=20.0, sigma_data=0.5, prediction_type="v_prediction"),
    "DDIM epsilon": DDIMScheduler(clip_sample=False),
    "DDIM velocity": DDIMScheduler(clip_sample=False, prediction_type="v_prediction", rescale_betas_zero_snr=True),
    "DPM-Solver": DPMSolverMultistepScheduler(),
}


@pytest.fixture(params=SCHEDULERS)
def scheduler(request):
    return SCHEDULERS[request.param]


def noise_in(scheduler, noisy, clean, level):
    """The noise that makes ``noisy`` (as the network sees it) of ``clean``."""
    if is_edm(scheduler):
        sigma = level.view(-1, 1, 1, 1, 1)
        return (noisy * (sigma**2 + scheduler.config.sigma_data**2).sqrt() - clean) / sigma
    kept = scheduler.alphas_cumprod[level].view(-1, 1, 1, 1, 1)
    return (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()


def test_a_perfect_network_brings_the_data_back(scheduler):
    """Its answers are the training targets, so noising and denoising are inverse to each other."""
    torch.manual_seed(0)
    clean = torch.randn(2, 3, 4, 8, 8)
    calls = []

    def network(noisy, timestep):
        level = (4 * timestep).exp() if is_edm(scheduler) else timestep.long()
        seen, expected_timestep, target = corrupt(scheduler, clean, noise_in(scheduler, noisy, clean, level), level)
        torch.testing.assert_close(seen, noisy, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(expected_timestep.float(), timestep.float())
        calls.append(timestep)
        return target

    result = sample(scheduler, network, torch.randn(2, 3, 4, 8, 8), steps=5)
    assert len(calls) == 5
    assert (result - clean).square().mean().sqrt() < 0.05


def test_targets_have_about_unit_scale(scheduler):
    torch.manual_seed(0)
    clean = scheduler.config.get("sigma_data", 1.0) * torch.randn(64, 1, 4, 8, 8)
    level = noise_level(scheduler, torch.rand(64))
    seen, _, target = corrupt(scheduler, clean, torch.randn_like(clean), level)
    assert 0.8 < target.std() < 1.2
    assert 0.8 < seen.std() < 1.2


def test_levels_are_monotonic_and_in_range(scheduler):
    levels = noise_level(scheduler, torch.linspace(1e-6, 1 - 1e-6, 101))
    assert (levels.diff() >= 0).all()
    if is_edm(scheduler):
        assert levels.min() > 0
        torch.testing.assert_close(levels[50], torch.tensor(1.0), atol=1e-4, rtol=0)
    else:
        assert levels.min() >= 0 and levels.max() < scheduler.config.num_train_timesteps


def test_sampling_again_is_the_same(scheduler):
    noise = torch.randn(1, 2, 4, 8, 8)
    results = [sample(scheduler, lambda noisy, timestep: noisy.tanh(), noise, 3) for _ in range(2)]
    assert results[0].equal(results[1])


def test_unknown_prediction_types_are_refused():
    latents = torch.zeros(1, 1, 1, 1, 1)
    with pytest.raises(UserError, match="prediction_type='sample'"):
        corrupt(DDIMScheduler(prediction_type="sample"), latents, latents, torch.tensor([3]))


def test_schedulers_that_scale_by_sigma_are_refused():
    latents = torch.zeros(1, 1, 1, 1, 1)
    with pytest.raises(UserError, match="EulerDiscreteScheduler"):
        corrupt(EulerDiscreteScheduler(), latents, latents, torch.tensor([3]))
