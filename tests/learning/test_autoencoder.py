"""The autoencoder's stage."""

from dataclasses import replace

import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.learning.autoencoder import AutoencoderStage, estimate_scale
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.recipe import AutoencoderLoss


def test_held_out_frames_are_not_drawn(make_pipeline, small_dataset):
    data = to_training_data(load_episodes(small_dataset), torch.device("cpu"), held_out_every=4)
    shape = data.frames.shape
    data = replace(data, frames=data.held_out.view(-1, 1, 1, 1).to(torch.uint8).expand(shape))
    assert data.held_out.any()
    stage = AutoencoderStage(data, make_pipeline().vae, AutoencoderLoss())
    drawn = stage.batch(0, 256, torch.Generator().manual_seed(0), stage.objective)
    assert not drawn["frames"].any() and not drawn["background"].any()


@pytest.mark.filterwarnings("error")
def test_the_scale_of_state_numbers_is_finite_and_there_may_be_none(small_dataset):
    data = to_training_data(load_episodes(small_dataset), torch.device("cpu"))
    mean, std = estimate_scale(data)
    torch.testing.assert_close((data.estimates[~data.held_out] - mean).square().mean(0).sqrt().clamp_min(1e-3), std)
    assert std.min() > 0
    assert [len(part) for part in estimate_scale(replace(data, estimates=data.estimates[:, :0]))] == [0, 0]
    one = replace(data, held_out=torch.arange(len(data.held_out)) > 0)
    assert all(part.isfinite().all() for part in estimate_scale(one))


def test_pictures_and_state_are_learnt(make_pipeline, small_dataset):
    torch.manual_seed(0)
    data = to_training_data(load_episodes(small_dataset), torch.device("cpu"))
    stage = AutoencoderStage(data, make_pipeline().vae, AutoencoderLoss())
    optimizer = torch.optim.AdamW(stage.objective.parameters(), 3e-3)
    losses = []
    for step in range(30):
        found = stage.objective(**stage.batch(step, 16, torch.Generator().manual_seed(step), stage.objective))
        losses.append({name: float(value.detach()) for name, value in found.items()})
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
    assert losses[-1]["psnr"] > losses[0]["psnr"] + 3
    assert losses[-1]["state"] < 0.7 * losses[0]["state"]
