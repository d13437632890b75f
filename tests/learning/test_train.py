"""From a dataset to a checkpoint in one call, which may be killed anywhere."""

import json
import os
import shutil
import subprocess
import sys

import h5py
import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

STAGES = ("autoencoder", "video")
STILL = [f"train.{stage}.fit.learning_rate=1e-12" for stage in STAGES]


@pytest.fixture(scope="module")
def trained(train_in_steps, small_dataset, tmp_path_factory):
    """(folder, progress reports) of an uninterrupted run."""
    reports = []
    out = tmp_path_factory.mktemp("whole") / "out"
    folder = train_in_steps(small_dataset, out, "log=true", on_progress=lambda *report: reports.append(report))
    return folder, reports


def weights(folder):
    files = [file for file in sorted(folder.rglob("*.safetensors")) if "training" not in file.parts]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_both_stages_run_and_report(trained):
    folder, reports = trained
    steps = [(stage, step) for stage in STAGES for step in (1, 2, 3, 4)]
    assert [(stage, step, steps) for stage, step, steps, _ in reports] == [(*done, 4) for done in steps]
    assert all(torch.tensor(list(numbers.values())).isfinite().all() for *_, numbers in reports)
    lines = [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == steps
    assert list((folder / "training" / "tensorboard").glob("events.*"))


def test_the_checkpoint_is_complete(trained, small_dataset):
    checkpoint, episodes = load_checkpoint(trained[0]), load_episodes(small_dataset)
    card, source = checkpoint.card, episodes.source
    assert (checkpoint.tasks, card.size, card.camera, card.repeat) == (["reach-v3", "push-v3"], 32, "corner4", 5)
    assert (card.readouts, card.reward_scale, card.action_dim) == (list(source.readouts), source.reward_scale, 4)
    assert card.raw_steps_per_second == source.raw_steps_per_second
    record = card.training
    assert record["data"] == {"episodes": 8, "frames": 8 * 11, "first seed": 100_000, "last seed": 100_003}
    assert set(record["losses"]) == set(STAGES)
    assert (record["device"], record["processes"]) == ("cpu", 1)
    assert record["command"].endswith("--out OUT log=true")
    config = checkpoint.pipeline.transformer.config
    assert config.reward_scale == source.reward_scale
    assert config.estimate_mean[4] == pytest.approx(episodes.estimates[:, 4].mean(), rel=1e-4)
    latents = checkpoint.pipeline.encode(episodes.frames)
    assert latents.mean((0, 2, 3)).abs().max() < 0.1
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.1


@pytest.mark.parametrize(("stage", "at"), [("autoencoder", 3), ("video", 3), ("video", 4)])
def test_killed_and_resumed_equals_uninterrupted(trained, train_in_steps, small_dataset, tmp_path, stage, at):
    """In the middle of each stage, and at the very end."""

    def kill(name, step, *numbers):
        if (name, step) == (stage, at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_steps(small_dataset, tmp_path / "out", on_progress=kill)
    assert not (tmp_path / "out" / "checkpoint.json").exists()
    after = []
    folder = train_in_steps(small_dataset, tmp_path / "out", on_progress=lambda *report: after.append(report[:2]))
    assert after[0] == (stage, at)  # this step had not been saved, the one before had
    assert weights(folder) == weights(trained[0])
    after.clear()
    train_in_steps(small_dataset, folder, on_progress=lambda *report: after.append(report))
    assert not after and weights(folder) == weights(trained[0])  # what is finished is not trained again


def test_training_goes_on_from_a_checkpoint_on_other_tasks(trained, train_in_steps, small_dataset, tmp_path):
    before = load_checkpoint(trained[0])
    options = (small_dataset, tmp_path / "out", f"checkpoint={trained[0]}", *STILL)
    after = load_checkpoint(train_in_steps(*options, "tasks=[push-v3]"))
    assert after.tasks == list(after.starts) == ["push-v3"]
    for name in ("vae", "transformer", "text_encoder"):
        old, new = (getattr(loaded.pipeline, name).state_dict() for loaded in (before, after))
        assert all(torch.allclose(old[key], value, atol=1e-4) for key, value in new.items()), name
    assert after.pipeline.vae.config.latents_mean == before.pipeline.vae.config.latents_mean
    assert after.pipeline.transformer.config.estimate_std == before.pipeline.transformer.config.estimate_std
    assert after.card.training["started from"]["checkpoint"] == before.hash
    assert "## Started from a checkpoint" in (after.path / "README.md").read_text()
    # A text that it does not know gets a text encoder of its own.
    data = shutil.copytree(small_dataset, tmp_path / "set")
    with h5py.File(next(data.rglob("*.hdf5")), "r+") as file:
        for group in file.values():
            group.attrs["instruction"] = "shove it away"
    other = load_checkpoint(train_in_steps(data, tmp_path / "other", f"checkpoint={trained[0]}", *STILL))
    assert other.pipeline.tokenizer.tokenize("shove it") == ["shove</w>", "it</w>"]


def test_a_checkpoint_without_memory_is_given_one(trained, train_in_steps, small_dataset, tmp_path):
    """And keeps what it knows."""
    layers = ("train.model.transformer.memory_blocks=[0,1]", "train.model.transformer.memory_beginning=[1]")
    options = (small_dataset, tmp_path / "out", f"checkpoint={trained[0]}", *STILL, *layers)
    before, after = load_checkpoint(trained[0]), load_checkpoint(train_in_steps(*options))
    assert after.has_memory and not before.has_memory
    old, new = (loaded.pipeline.transformer.state_dict() for loaded in (before, after))
    assert all(torch.allclose(new[key][: len(value)], value, atol=1e-4) for key, value in old.items())


def test_another_run_in_the_same_folder_and_what_a_run_can_not_start_from_are_refused(
    trained, train_in_steps, small_dataset, tmp_path
):
    there, out, start = trained[0], tmp_path / "out", f"checkpoint={trained[0]}"
    for place, settings, message in (
        (there, ["tasks=[push-v3]"], r"holds a run with tasks=.*; give another place"),
        (there, ["train.model.transformer.depth=3"], r"transformer.depth=2, not .*depth=3"),
        (there, [start], "is the checkpoint to start from, too"),
        (out, [start, "train.model.transformer.dim=64"], r"transformer.dim=64, but checkpoint=.* has 32, and its"),
        (out, [start, "train.base=elsewhere"], r"train.base='elsewhere' does not go with a --checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            train_in_steps(small_dataset, place, *settings)
    assert not out.exists()


def test_evaluation_seeds_are_refused(train_in_steps, small_dataset, tmp_path):
    data = shutil.copytree(small_dataset, tmp_path / "set")
    with h5py.File(next(data.rglob("*.hdf5")), "r+") as file:
        file["episode_1"].attrs["seed"] = 7
    with pytest.raises(UserError, match="seed=7, which is kept for evaluation"):
        train_in_steps(data, tmp_path / "out")
    # Recorded episodes number their scenes as they like, and have a split.
    metadata = json.loads((data / "metadata.json").read_text())
    metadata["collection"]["split"] = "train"
    (data / "metadata.json").write_text(json.dumps(metadata))
    assert train_in_steps(data, tmp_path / "out").is_dir()


@pytest.mark.slow
def test_two_processes_train_one_model(small_dataset, tmp_path):
    """As on several GPUs, but on the CPU: gradients are averaged, one process writes, killed runs go on."""

    def launch(out, steps):
        program = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone")
        options = ("--data", str(small_dataset), "--out", str(out), "train=tiny", f"train.video.fit.steps={steps}")
        subprocess.run(
            [*program, "-m", "sfvgen_plan.cli", "train", *options, "train.video.fit.constant=true"],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=250,
        )
        return weights(out)["transformer/diffusion_pytorch_model.safetensors"]

    whole = launch(tmp_path / "whole", 4)
    assert load_checkpoint(tmp_path / "whole").card.training["processes"] == 2
    launch(tmp_path / "parts", 3)
    assert launch(tmp_path / "parts", 4) == whole


@pytest.mark.slow
def test_training_takes_what_the_data_needs(write_small_dataset, tmp_path):
    """Some copies of the frames, not a hundred: measured against a data set of next to nothing."""
    code = (
        "import resource, sys; from sfvgen_plan.cli import main; assert main(sys.argv[1:]) == 0; "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak, frames = [], []
    for episodes in (2, 400):
        data = write_small_dataset(tmp_path / f"{episodes}", episodes)
        command = [sys.executable, "-c", code, "train", "--data", str(data), "--out", f"{data}-out", "train=tiny"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peak.append(1024 * int(done.stdout.split()[-1]))
        frames.append(load_episodes(data).frames.nbytes)
    assert peak[1] - peak[0] < 20 * (frames[1] - frames[0])
