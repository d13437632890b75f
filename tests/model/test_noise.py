"""Noise belongs to the episode, not to the batch; what training asks of the network is what sampling takes from it."""

import pytest
import torch
from diffusers import DDIMScheduler

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.noise import bits, corrupt, normal, sample, uniform

SEEDS = torch.tensor([0, 1, 2**40, -7])
ZERO = torch.zeros_like(SEEDS)


def test_the_same_seed_gives_the_same_numbers_in_any_batch_and_of_any_length():
    together = normal(SEEDS, ZERO + 5, (3, 4))
    assert together.equal(normal(SEEDS, ZERO + 5, (3, 4)))
    for place, seed in enumerate(SEEDS):
        assert normal(seed[None], torch.tensor([5]), (3, 4))[0].equal(together[place])
    order = torch.tensor([2, 0, 0])
    assert normal(SEEDS[order], ZERO[order] + 5, (3, 4)).equal(together[order])
    assert normal(SEEDS, ZERO, (8,))[:, :3].equal(normal(SEEDS, ZERO, (3,)))
    for seeds, counter, stream in ((SEEDS + 1, ZERO, 0), (SEEDS, ZERO + 1, 0), (SEEDS, ZERO, 1)):
        assert (bits(SEEDS, ZERO, 100) != bits(seeds, counter, 100, stream)).all()


def test_normal_has_the_moments_of_the_normal_distribution():
    values = normal(torch.arange(200), torch.arange(200) % 3, (2000,)).double()
    flat = values.flatten()
    assert flat.isfinite().all()
    assert abs(flat.mean()) < 0.005
    assert abs(flat.var() - 1) < 0.01
    assert abs(flat.pow(3).mean()) < 0.02
    assert abs(flat.pow(4).mean() - 3) < 0.06
    # Episodes and places are uncorrelated.
    assert (values.corrcoef() - torch.eye(200)).abs().max() < 0.12
    assert abs((values[:, 1:] * values[:, :-1]).mean()) < 0.005


def test_uniform_covers_the_open_unit_interval():
    values = uniform(torch.arange(100), torch.zeros(100, dtype=torch.int64), 1000)
    assert 0 < values.min() < 0.001
    assert 0.999 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.005
    assert abs(values.var() - 1 / 12) < 0.002


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
