"""`loop=slowfast` from a dataset and a checkpoint to a checkpoint that says so."""

import json
import os
import shutil
import subprocess
import sys

import h5py
import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.runs import has_split
from sfvgen_plan.memory.rows import ROWS, simulator_of_row
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.settings import compose

LOOP = (
    "loop=slowfast",
    "loop.episodes=2",
    "loop.chunk=3",
    "loop.chunks=2",
    "loop.fit.batch=2",
    "loop.fit.steps=3",
    "row.fast_learning.rank=2",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 3, 7)


@pytest.fixture(scope="module")
def run(dataset, small_checkpoint, train_in_steps):
    """Function that runs the loop into a folder; its state is saved after every step."""

    def run(out, *overrides, on_progress=None, data=dataset, checkpoint=small_checkpoint):
        start = [f"checkpoint={checkpoint}"] if checkpoint else []
        config = compose("train", ["train=tiny", f"data={data}", f"out={out}", *start, *overrides])
        return train_in_steps(config, on_progress, overrides)

    return run


@pytest.fixture(scope="module")
def looped(run, tmp_path_factory):
    return run(tmp_path_factory.mktemp("looped") / "out", *LOOP)


def weights(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*.safetensors"))
        if "training" not in file.parts
    }


def test_the_denoiser_alone_is_changed(looped, small_checkpoint, run, tmp_path):
    still = run(tmp_path / "still", *LOOP, "loop.fit.learning_rate=1e-12")
    before, after = weights(still), weights(looped)
    assert before.keys() == after.keys() == weights(small_checkpoint).keys()
    assert [name for name in before if before[name] != after[name]] == ["unet/diffusion_pytorch_model.safetensors"]
    first, second = (load_checkpoint(folder).pipeline.vae for folder in (small_checkpoint, looped))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-2, atol=1e-2) for a, b in pairs)  # as bfloat16


def test_it_loads_as_any_other_and_its_card_names_the_loop(looped, small_checkpoint):
    base, checkpoint = load_checkpoint(small_checkpoint), load_checkpoint(looped)
    assert (checkpoint.tasks, checkpoint.size, checkpoint.camera) == (base.tasks, base.size, base.camera)
    assert all(torch.allclose(checkpoint.starts[task], base.starts[task], atol=0.02) for task in base.starts)
    loop = checkpoint.card.training["loop"]
    assert (loop["row"], loop["memory"], loop["checkpoint"]) == ("full", True, base.hash)
    assert loop["row settings"]["fast_learning"]["rank"] == 2
    assert loop["settings"]["chunk"] == 3
    assert "loop" in checkpoint.card.training["losses"]
    assert "## Slow-fast loop" in (looped / "README.md").read_text()
    simulator = simulator_of_row(checkpoint, "full", 1)
    start = checkpoint.starts["reach-v3"][:1, None]
    state, outcome = simulator.imagine(simulator.begin_latents(start, ["reach-v3"], [0]), torch.zeros(1, 3, 4))
    assert simulator.remember(state).memory.steps.tolist() == [simulator.fast_learning.steps]
    assert outcome.latents.isfinite().all()


def test_killed_and_resumed_equals_uninterrupted(looped, run, tmp_path):
    class Killed(Exception):
        pass

    def kill(name, step, steps, numbers):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "out", *LOOP, on_progress=kill)
    assert not (tmp_path / "out" / "checkpoint.json").exists()
    after = []
    folder = run(tmp_path / "out", *LOOP, on_progress=lambda *report: after.append(report[:2]))
    assert after == [("loop", 2), ("loop", 3)]
    assert weights(folder) == weights(looped)


def test_after_the_other_stages_in_one_command_or_later(run, tmp_path):
    """The same weights, whether the loop was asked for at once or of a run that had been finished."""
    small = (
        "train.text_steps=2",
        "train.model.unet_widths=[8,8]",
        "train.model.head_dim=4",
        "train.model.norm_groups=4",
    )
    small += ("train.denoiser.windows.lengths=[3,6]",)
    small += tuple(f"train.{stage}.fit.steps=2" for stage in ("autoencoder", "denoiser", "heads", "prior", "prior10"))
    small += ("train.inverse.fit.steps=0",)
    reports = []
    at_once = run(
        tmp_path / "once", *small, *LOOP, checkpoint=None, on_progress=lambda *report: reports.append(report[:2])
    )
    assert list(dict.fromkeys(name for name, _ in reports)) == [
        "autoencoder",
        "denoiser",
        "heads",
        "prior",
        "prior10",
        "loop",
    ]
    later = run(tmp_path / "later", *small, checkpoint=None)
    plain = weights(later)
    assert "loop" not in load_checkpoint(later).card.training
    run(tmp_path / "later", *small, *LOOP, checkpoint=None)
    assert weights(later) == weights(at_once)
    assert [name for name in plain if plain[name] != weights(later)[name]] == [
        "unet/diffusion_pytorch_model.safetensors"
    ]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains(run, tmp_path, small_checkpoint, row):
    changes = [] if row == "no_temp_lora" else ["row.fast_learning.rank=2", "row.fast_learning.steps=1"]
    folder = run(tmp_path / "out", *LOOP[:-1], *changes, f"row={row}")
    checkpoint = load_checkpoint(folder)
    loop = checkpoint.card.training["loop"]
    assert (loop["row"], loop["memory"]) == (row, row not in ("no_loop", "no_temp_lora"))
    assert checkpoint.card.context_frames == (1 if row == "no_chunk_input" else 2)
    assert simulator_of_row(checkpoint, row, 1).context_frames == checkpoint.card.context_frames
    state = torch.load(folder / "training" / "loop.pt", weights_only=True)
    assert (state["stage"]["origin"] is not None) == loop["memory"]


def test_the_other_rows_differ_from_the_full_one(run, looped, tmp_path):
    """Rows without a loop train beside no Θ, and so come to another denoiser, the same for both."""
    denoisers = {
        row: weights(run(tmp_path / row, *LOOP[:-1], *rank, f"row={row}"))["unet/diffusion_pytorch_model.safetensors"]
        for row, rank in (("no_loop", LOOP[-1:]), ("no_temp_lora", ()), ("original_temp_lora", LOOP[-1:]))
    }
    denoisers["full"] = weights(looped)["unet/diffusion_pytorch_model.safetensors"]
    assert denoisers["no_loop"] == denoisers["no_temp_lora"]
    assert len(set(denoisers.values())) == 3


def test_another_row_does_not_go_on_in_the_same_folder(run, looped):
    with pytest.raises(UserError, match=r"holds a training run with row.name=full \(now no_local_rule\)"):
        run(looped, *LOOP, "row=no_local_rule")
    with pytest.raises(UserError, match=r"chunk=3 \(now 2\)"):
        run(looped, *LOOP, "loop.chunk=2")


def test_evaluation_seeds_are_refused(run, tmp_path, dataset):
    data = tmp_path / "set"
    shutil.copytree(dataset, data)
    with h5py.File(next(data.rglob("*.hdf5")), "r+") as file:
        file["episode_1"].attrs["seed"] = 7
    with pytest.raises(UserError, match="seed=7, which is kept for evaluation"):
        run(tmp_path / "out", *LOOP, data=data)
    # Recorded episodes number their scenes as they like, and have a split.
    metadata = json.loads((data / "metadata.json").read_text())
    assert not has_split(data)
    metadata["collection"]["split"] = "train"
    (data / "metadata.json").write_text(json.dumps(metadata))
    assert has_split(data)
    run(tmp_path / "out", *LOOP, data=data)


def test_settings_that_do_not_go_together(run, tmp_path, small_checkpoint):
    with pytest.raises(UserError, match="add loop=slowfast"):
        run(tmp_path / "out")
    with pytest.raises(UserError, match="row='no_local_rule' is for the slow-fast loop"):
        run(tmp_path / "out", "row=no_local_rule", checkpoint=None)
    with pytest.raises(UserError, match="give another --out"):
        run(small_checkpoint, *LOOP)


def test_a_checkpoint_in_the_package_is_started_from_by_its_name(run, tmp_path, small_checkpoint, monkeypatch):
    monkeypatch.setattr("sfvgen_plan.model.folders.PACKAGED", tmp_path)
    named = shutil.copytree(small_checkpoint, tmp_path / "named")
    looped = load_checkpoint(run(tmp_path / "out", *LOOP, checkpoint="named"))
    assert looped.card.training["loop"]["checkpoint"] == load_checkpoint(small_checkpoint).hash
    with pytest.raises(UserError, match="give another --out"):
        run(named, *LOOP, checkpoint="named")


def test_data_of_another_kind_is_refused(run, tmp_path, small_checkpoint):
    other = tmp_path / "other"
    shutil.copytree(small_checkpoint, other)
    card = json.loads((other / "checkpoint.json").read_text())
    for change, message in (({"camera": "corner2"}, "camera"), ({"tasks": {"reach-v3": "reach"}}, "task='push-v3'")):
        (other / "checkpoint.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(UserError, match=message):
            run(tmp_path / "out", *LOOP, checkpoint=other)


@pytest.mark.slow
def test_two_processes_train_one_denoiser(dataset, small_checkpoint, tmp_path):
    """As on several GPUs, but on the CPU: gradients are averaged, one process writes, killed runs go on."""
    options = ["train=tiny", *LOOP, "loop.episodes=4", "loop.fit.batch=4"]

    def launch(out, steps):
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"),
                *("-m", "sfvgen_plan.cli", "train", "--data", str(dataset), "--checkpoint", str(small_checkpoint)),
                *("--out", str(out), *options, f"loop.fit.steps={steps}"),
            ],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=250,
        )
        return weights(out)["unet/diffusion_pytorch_model.safetensors"]

    whole = launch(tmp_path / "whole", 4)
    assert load_checkpoint(tmp_path / "whole").card.training["processes"] == 2
    launch(tmp_path / "parts", 3)
    assert launch(tmp_path / "parts", 4) == whole
