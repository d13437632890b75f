"""``add=tasks``: all stages go on from a checkpoint's weights, on the tasks of other data."""

import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.settings import compose

STAGES = ("autoencoder", "denoiser", "heads", "prior", "prior10", "inverse")
STILL = [f"train.{stage}.fit.learning_rate=1e-12" for stage in STAGES]


@pytest.fixture(scope="module")
def run(train_in_steps):
    """Function that trains into a folder."""

    def run(data, out, *overrides):
        config = compose("train", ["train=tiny", f"data={data}", f"out={out}", *overrides])
        return train_in_steps(config, None, overrides)

    return run


@pytest.fixture(scope="module")
def started(tiny_training):
    """Dataset of the first of the small tasks, and a checkpoint trained on it."""
    return tiny_training


def weights(checkpoint, name):
    return getattr(load_checkpoint(checkpoint).pipeline, name).state_dict()


def test_training_begins_at_the_checkpoints_weights(run, started, tmp_path):
    data, before = started
    after = run(data, tmp_path / "out", f"checkpoint={before}", "add=tasks", *STILL)
    for name in ("vae", "unet", "prior", "prior10", "text_encoder"):
        old = weights(before, name)
        assert all(torch.allclose(new, old[key], atol=1e-4) for key, new in weights(after, name).items()), name
    started_from = load_checkpoint(after).card.training["started from"]
    assert started_from["checkpoint"] == load_checkpoint(before).hash
    assert started_from["trained"]["recipe"]
    assert "## Started from a checkpoint" in (after / "README.md").read_text()


def test_it_learns_tasks_that_the_checkpoint_does_not_know(run, started, tmp_path, write_small_dataset):
    _, before = started
    data = write_small_dataset(tmp_path / "set", 4, 12, tasks=["push-v3"])
    after = load_checkpoint(run(data, tmp_path / "out", f"checkpoint={before}", "add=tasks"))
    assert list(after.tasks) == ["push-v3"]
    assert set(after.starts) == {"push-v3"}
    _, pooled = after.pipeline.embed(after.card.tasks.values())
    assert pooled.isfinite().all()


def test_another_start_does_not_go_on_in_the_same_folder(run, started, tmp_path):
    data, before = started
    run(data, tmp_path / "out", f"checkpoint={before}", "add=tasks")
    with pytest.raises(UserError, match="started from"):
        run(data, tmp_path / "out")


def test_networks_of_other_sizes_are_refused(run, started, tmp_path):
    data, before = started
    sizes = ["train.model.unet_widths=[64,64]", "train.model.head_dim=16"]
    with pytest.raises(UserError, match=r"its unet has other sizes than the recipe's model"):
        run(data, tmp_path / "out", f"checkpoint={before}", "add=tasks", *sizes)


def test_a_recipe_that_starts_elsewhere_is_refused(run, started, tmp_path):
    data, before = started
    with pytest.raises(UserError, match=r"train.base='elsewhere' does not go with add=tasks"):
        run(data, tmp_path / "out", f"checkpoint={before}", "add=tasks", "train.base=elsewhere")
