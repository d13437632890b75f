"""From a dataset to a checkpoint in one call, which may be killed anywhere."""

import json

import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning import train
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.settings import compose

STAGES = ("autoencoder", "denoiser", "heads", "prior", "prior10", "inverse")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 10)


@pytest.fixture(scope="module")
def config(dataset):
    small = [
        "train.text_steps=2",
        "train.model.unet_widths=[8,8]",
        "train.model.head_dim=4",
        "train.model.norm_groups=4",
        "train.denoiser.windows.lengths=[3,6]",
        *(f"train.{stage}.fit.steps=3" for stage in STAGES),
    ]
    return compose("train", ["train=tiny", f"data={dataset}", *small])


@pytest.fixture(scope="module")
def run(config, train_in_steps):
    """Function that trains into a folder; each stage saves its state after every step."""

    def run(out, on_progress=None, **changes):
        return train_in_steps({**config, "out": str(out), **changes}, on_progress)

    return run


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """(folder, progress reports) of an uninterrupted run."""
    reports = []
    folder = run(tmp_path_factory.mktemp("whole") / "out", lambda *report: reports.append(report))
    return folder, reports


def weights(folder):
    files = [file for file in sorted(folder.rglob("*.safetensors")) if "training" not in file.parts]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_all_stages_run_and_report(trained):
    folder, reports = trained
    assert [(stage, step, steps) for stage, step, steps, _ in reports] == [
        (stage, step, 3) for stage in STAGES for step in (1, 2, 3)
    ]
    assert all(torch.tensor(list(numbers.values())).isfinite().all() for *_, numbers in reports)
    lines = [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [(stage, step) for stage, step, *_ in reports]


def test_the_checkpoint_is_complete(trained, dataset):
    checkpoint = load_checkpoint(trained[0])
    assert (checkpoint.tasks, checkpoint.size, checkpoint.camera, checkpoint.repeat) == (
        ["reach-v3", "push-v3"],
        32,
        "corner4",
        5,
    )
    record = checkpoint.card.training
    assert record["data"]["episodes"] == 8
    assert record["data"]["frames"] == 8 * 11
    assert record["data"]["first seed"] == 100_000
    assert set(record["losses"]) == set(STAGES)
    assert record["device"] == "cpu"
    assert checkpoint.card.anchor_every == 6
    assert checkpoint.simulator(anchor_every=None).anchor_every == 6
    simulator = checkpoint.simulator(2)
    starts = torch.stack([starts[:1] for starts in checkpoint.starts.values()])
    state, outcome = simulator.imagine(simulator.begin_latents(starts, checkpoint.tasks, [0, 1]), torch.zeros(2, 4, 4))
    assert outcome.latents.isfinite().all()
    assert checkpoint.prior("prior10").act(state).shape == (2, 4)


def test_latents_of_the_data_have_unit_scale(trained, dataset):
    from sfvgen_plan.data.episodes import load_episodes

    latents = load_checkpoint(trained[0]).pipeline.encode(load_episodes(dataset).frames)
    assert latents.mean((0, 2, 3)).abs().max() < 0.1
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.1


def test_training_changes_every_network(trained, config, tmp_path):
    before = train.Training({**config, "out": str(tmp_path)}).pipeline
    after = load_checkpoint(trained[0]).pipeline
    for name in ("vae", "unet", "heads", "prior", "prior10"):  # inverse is made when its stage begins
        first = torch.cat([p.flatten() for p in getattr(before, name).parameters()])
        second = torch.cat([p.flatten() for p in getattr(after, name).parameters()])
        assert (first - second).abs().max() > 1e-4, name


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_resumed_equals_uninterrupted(trained, run, tmp_path, stage):
    """In the middle of each stage."""

    class Killed(Exception):
        pass

    def kill(name, step, steps, numbers):
        if (name, step) == (stage, 2):
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "out", kill)
    assert not (tmp_path / "out" / "checkpoint.json").exists()
    after = []
    folder = run(tmp_path / "out", lambda *report: after.append(report[:2]))
    # Step 2 had not been saved, step 1 had.
    assert after[0] == (stage, 2)
    assert weights(folder) == weights(trained[0])


def test_a_finished_run_is_not_trained_again(trained, run):
    before = weights(trained[0])
    reports = []
    run(trained[0], lambda *report: reports.append(report))
    assert reports == []
    assert weights(trained[0]) == before


def test_some_tasks_only(run, tmp_path):
    folder = run(tmp_path / "out", tasks=["push-v3"])
    assert load_checkpoint(folder).tasks == ["push-v3"]


@pytest.mark.parametrize(
    "setting",
    ["train.denoiser.fit.steps=-1", "train.inverse.fit.batch=0", "train.prior10.fit.ema=1.0", "loop.fit.clip=0.0"],
)
def test_bad_numbers_of_any_stage_are_refused_before_anything_is_read(tmp_path, setting):
    arguments = ["train=tiny", "loop=slowfast", f"data={tmp_path / 'none'}", f"out={tmp_path / 'out'}", setting]
    with pytest.raises(UserError, match=f"^{setting} makes no sense"):
        train.Training(compose("train", arguments))
    assert not list(tmp_path.iterdir())


def test_windows_longer_than_the_episodes(config, tmp_path):
    windows = {**config["train"]["denoiser"]["windows"], "lengths": [3, 16]}
    recipe = {**config["train"], "denoiser": {**config["train"]["denoiser"], "windows": windows}}
    with pytest.raises(UserError, match="lengths=16 fits no episode"):
        train.Training({**config, "train": recipe, "out": str(tmp_path)}).run()
