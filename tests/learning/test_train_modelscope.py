"""``train.base``: from ModelScope's weights to a checkpoint that agents can plan in."""

import subprocess
import sys

import pytest
import torch

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning import train
from sfvgen_plan.learning.origin import fresh_pipeline
from sfvgen_plan.model.checkpoint import CheckpointCard, load_checkpoint
from sfvgen_plan.settings import compose

TASKS = {"reach-v3": "reach the red goal"}
STAGES = ("denoiser", "heads", "prior", "prior10", "inverse")
SMALL = [
    "train=paper",
    "train.denoiser.windows.lengths=[3,6]",
    "train.model.heads_width=8",
    "train.model.prior_width=8",
    *(f"train.{stage}.fit.batch=4" for stage in STAGES),
    *(f"train.{stage}.fit.steps=2" for stage in STAGES),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 10)


@pytest.fixture(scope="module")
def trained(dataset, modelscope, tmp_path_factory):
    """A checkpoint trained a little from a tiny folder in ModelScope's layout."""
    out = tmp_path_factory.mktemp("paper") / "out"
    config = compose("train", [*SMALL, f"data={dataset}", f"out={out}", f"train.base={modelscope[1]}"])
    return load_checkpoint(train.Training(config).run())


def test_one_decision_can_be_imagined_and_planned_in_what_was_trained(trained):
    simulator = trained.simulator(2)
    starts = torch.stack([starts[:1] for starts in trained.starts.values()])
    state, outcome = simulator.imagine(simulator.begin_latents(starts, trained.tasks, [0, 1]), torch.zeros(2, 1, 4))
    assert outcome.latents.shape == (2, 1, 4, 16, 16)
    assert all(values.isfinite().all() for values in (outcome.latents, outcome.reward, outcome.value))
    for name in ("prior", "prior10"):
        assert trained.prior(name).act(state).shape == (2, 4)
    assert trained.inverse()(torch.randn(3, 2, 4, 16, 16)).shape == (3, 4)


def test_heads_have_the_units_of_the_data(trained, dataset):
    from sfvgen_plan.data.episodes import load_episodes

    config = trained.pipeline.heads.config
    assert config.reward_scale == 10.0
    assert config.estimate_mean[4] == pytest.approx(load_episodes(dataset).estimates[:, 4].mean(), rel=1e-4)
    assert config.text_dim == 16 and config.sample_size == 16


def test_loading_says_nothing_of_the_libraries_own(modelscope, capfd):
    recipe = compose("train", [*SMALL, f"train.base={modelscope[1]}"])["train"]
    card = CheckpointCard(TASKS, size=32, camera="corner4", repeat=5)
    capfd.readouterr()
    pipeline = fresh_pipeline(recipe, card, 0, torch.device("cpu"), None)
    assert capfd.readouterr() == ("", "")
    assert pipeline.action_dim == 4 and pipeline.unet.dtype == torch.float32


def test_autoencoder_and_text_encoder_stay_modelscopes(trained, modelscope):
    for name in ("vae", "text_encoder"):
        theirs, ours = getattr(modelscope[0], name).state_dict(), getattr(trained.pipeline, name).state_dict()
        assert all(ours[key].equal(value.bfloat16().float()) for key, value in theirs.items()), name
    assert set(trained.card.training["losses"]) == set(STAGES)


def test_latents_of_an_odd_number_of_places(make_pipeline):
    pipeline = make_pipeline(size=36)
    latents = pipeline.encode(torch.zeros(1, 2, 36, 36, 3, dtype=torch.uint8))
    assert latents.shape[-1] == 9
    pooled = pipeline.embed(["reach the red goal"])[1]
    assert pipeline.heads(latents, pooled).value.shape == (1,)
    assert pipeline.prior(latents, pooled).shape == (1, 4)


def damaged(folder):
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{")


@pytest.mark.parametrize("prepare", [lambda folder: None, damaged])
def test_what_cannot_be_loaded_leaves_nothing(dataset, tmp_path, prepare):
    prepare(tmp_path / "base")
    config = compose("train", [*SMALL, f"data={dataset}", f"out={tmp_path / 'out'}", f"train.base={tmp_path / 'base'}"])
    with pytest.raises(UserError, match=r"train\.base='.*base' can't be loaded \(.*\); give the folder"):
        train.Training(config)
    assert not (tmp_path / "out").exists()


def test_libraries_say_nothing_of_what_they_do_not_find(dataset, tmp_path):
    (tmp_path / "base").mkdir()
    command = [sys.executable, "-m", "sfvgen_plan.cli", "train", "--quiet", "--data", str(dataset), *SMALL]
    command += [f"train.base={tmp_path / 'base'}", f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "train.base=" in done.stderr


def test_another_base_does_not_go_on_in_the_same_folder(dataset, modelscope, tmp_path):
    arguments = [*SMALL, f"data={dataset}", f"out={tmp_path / 'out'}"]
    train.Training(compose("train", [*arguments, f"train.base={modelscope[1]}"]))
    with pytest.raises(UserError, match=r"holds a training run with base=.*\(now elsewhere\)"):
        train.Training(compose("train", [*arguments, "train.base=elsewhere"]))  # said before it is looked for


def test_a_network_that_follows_the_robot_is_refused(dataset, tmp_path):
    config = compose("train", [*SMALL, f"data={dataset}", f"out={tmp_path / 'out'}", "train.model.motion_width=8"])
    with pytest.raises(UserError, match=r"motion_width=8 does not go with train\.base='ali-vilab"):
        train.Training(config)
