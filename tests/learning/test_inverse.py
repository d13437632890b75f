"""Inverse dynamics learn the action that leads from frame to frame, and become part of a checkpoint."""

import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.heads import HeadSettings
from sfvgen_plan.learning.inverse import InverseObjective, InverseStage
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.model.inverse import InverseDynamics
from sfvgen_plan.settings import compose

ADD = ("add=inverse", "train.inverse.fit.steps=3")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 12)


@pytest.fixture(scope="module")
def run(dataset, small_checkpoint, train_in_steps):
    """Function that trains into a folder; the stage's state is saved after every step."""

    def run(out, *overrides, on_progress=None, checkpoint=small_checkpoint):
        start = [f"checkpoint={checkpoint}"] if checkpoint else []
        config = compose("train", ["train=tiny", f"data={dataset}", f"out={out}", *start, *overrides])
        return train_in_steps(config, on_progress, overrides)

    return run


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.safetensors")}


def test_it_finds_the_actions_of_episodes_that_it_was_not_trained_on(tmp_path, write_small_dataset):
    """In the small set the first two numbers push a square, whose frames stand here for latents; two do nothing."""
    dataset = write_small_dataset(tmp_path / "set", 30, 12)
    torch.manual_seed(0)
    data = to_training_data(load_episodes(dataset), torch.device("cpu"))
    small = data.frames.float().movedim(-1, 1)[:, :2].div(255).sub(0.4)
    data.latents = torch.nn.functional.avg_pool2d(small, 2)  # (F, 2, 16, 16)
    inverse = InverseDynamics(latent_channels=2, sample_size=16, width=16)
    stage = InverseStage(data, InverseObjective(inverse), HeadSettings(latent_noise=0.0))
    optimizer = torch.optim.Adam(inverse.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(200):
        optimizer.zero_grad()
        stage.objective(**stage.batch(step, 64, generator, stage.objective))["loss"].backward()
        optimizer.step()
    unseen = data.indices(data.held_out & data.labelled)
    assert len(unseen) and not set(unseen.tolist()) & set(stage.candidates.tolist())
    with torch.no_grad():
        found = inverse(data.latents[data.window(unseen, 2)])
    error = (found - data.action[unseen]).square().mean(0) / data.action[unseen].var(0)
    assert error[:2].max() < 0.4  # the square stands on whole pixels and stops at the border
    assert error[2:].min() > 0.8  # what can't be seen stays unknown


def test_it_is_added_to_a_checkpoint_of_which_all_else_stays(run, small_checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"has no inverse dynamics model.*add=inverse"):
        load_checkpoint(small_checkpoint).inverse()
    reports = []
    folder = run(tmp_path / "out", *ADD, on_progress=lambda *report: reports.append(report[:2]))
    assert reports == [("inverse", 1), ("inverse", 2), ("inverse", 3)]
    before, after = contents(small_checkpoint), contents(folder)
    new = "inverse/diffusion_pytorch_model.safetensors"
    assert after.keys() - before.keys() == {new}
    old, checkpoint = load_checkpoint(small_checkpoint), load_checkpoint(folder)
    for name in ("vae", "unet", "text_encoder", "heads", "prior", "prior10"):
        weights = getattr(checkpoint.pipeline, name).state_dict()
        kept = getattr(old.pipeline, name).state_dict()
        assert all(weights[key].equal(value.bfloat16().to(value.dtype)) for key, value in kept.items())
    pairs = torch.randn(5, 2, 4, 8, 8)
    assert checkpoint.inverse()(pairs).shape == (5, 4)
    assert checkpoint.card.training["added"]["checkpoint"] == old.hash


def test_killed_and_resumed_equals_uninterrupted(run, tmp_path):
    class Killed(Exception):
        pass

    def kill(stage, step, *rest):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "killed", *ADD, on_progress=kill)
    assert contents(run(tmp_path / "killed", *ADD)) == contents(run(tmp_path / "whole", *ADD))


def test_a_recipe_can_leave_it_out(run, tmp_path):
    steps = [f"train.{stage}.fit.steps=1" for stage in ("autoencoder", "denoiser", "heads", "prior", "prior10")]
    folder = run(tmp_path / "out", "train.inverse.fit.steps=0", *steps, checkpoint=None)
    assert not (folder / "inverse").exists()
    assert load_checkpoint(folder).pipeline.inverse is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["add=prior"], "add='prior' is unknown; choose inverse, motion, tasks"),
        (["add=inverse", "loop=slowfast"], "no loop"),
        ([], "add loop=slowfast, add=inverse or add=tasks"),
    ],
)
def test_what_does_not_go_together(run, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "out", *overrides)


def test_adding_needs_a_checkpoint(run, tmp_path):
    with pytest.raises(UserError, match="takes a --checkpoint"):
        run(tmp_path / "out", "add=inverse", checkpoint=None)
