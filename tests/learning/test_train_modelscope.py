"""``train.base``: masked conditional video diffusion from ModelScope's weights."""

import pytest
import torch

from sfvgen_plan import cli
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.chunks import ChunkObjective, ChunkStage
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.recipe import ChunkSettings, Recipe, filled
from sfvgen_plan.learning.start import first_pipeline
from sfvgen_plan.learning.train import Training
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.settings import compose

SMALL = ["train=paper", "train.video.chunks.lengths=[3,6]", "train.video.fit.batch=4", "train.video.fit.steps=2"]


@pytest.fixture(scope="module")
def trained(small_dataset, modelscope, tmp_path_factory):
    """A checkpoint trained a little from a tiny folder in ModelScope's layout."""
    out = tmp_path_factory.mktemp("paper") / "out"
    config = compose("train", [*SMALL, f"data={small_dataset}", f"out={out}", f"train.base={modelscope[1]}"])
    return load_checkpoint(Training(config).run())


@pytest.fixture(scope="module")
def stage(small_dataset, modelscope):
    """On latents that name their frame, with a text of ones for the first task and of twos for the second."""
    pipeline = SlowFastVGenPipeline.from_modelscope(str(modelscope[1]))
    data = to_training_data(load_episodes(small_dataset), torch.device("cpu"), held_out_every=4)
    data.latents = torch.arange(len(data.task)).float().view(-1, 1, 1, 1).expand(-1, 4, 4, 4)
    text = torch.tensor([1.0, 2.0]).view(2, 1, 1).expand(-1, 3, 16)
    settings = ChunkSettings((3, 6), longest_context=3, drop_action=0.2, drop_text=0.2)
    return ChunkStage(data, ChunkObjective(pipeline.unet, pipeline.scheduler), text, settings)


def batch(stage, step, size=64):
    return stage.batch(step, size, torch.Generator().manual_seed(step), stage.objective)


def test_only_the_unet_is_trained_and_it_imagines_chunks(trained, modelscope, small_dataset):
    pipeline = trained.pipeline
    for name in ("vae", "text_encoder"):
        theirs, ours = getattr(modelscope[0], name).state_dict(), getattr(pipeline, name).state_dict()
        assert all(ours[key].equal(value.bfloat16().float()) for key, value in theirs.items()), name
    assert pipeline.unet.conv_in.weight[:, 4:].any()  # channels of the condition, which begin at zero
    assert set(trained.card.training["losses"]) == {"video"}
    assert trained.card.readouts == [] and "without heads" in (trained.path / "README.md").read_text()
    frames = load_episodes(small_dataset).frames[None, :2]
    videos = pipeline(frames, ["reach the red goal"], 4, torch.zeros(1, 4, 4), num_inference_steps=2)
    assert videos.shape == (1, 4, 32, 32, 3)


def test_windows_begin_with_clean_frames_and_hold_out_what_is_held_out(stage):
    lengths, contexts, dropped = set(), set(), {"given": 0, "text": 0}
    for step in range(8):
        made = batch(stage, step)
        frame, clean, given = made["latents"][:, :, 0, 0, 0].long(), made["clean"], made["given"]
        assert bool((frame.diff(dim=1) == 1).all()) and not bool(stage.data.held_out[frame].any())
        assert bool((clean.diff(dim=1) <= 0).all()) and not bool(clean[:, -1].any())
        acted, told = given.any(1), made["text"].flatten(1).any(1)
        assert torch.equal(given[acted], 1 - clean[acted])
        assert torch.equal(made["text"][told][:, 0, 0], stage.data.task[frame[told, 0]] + 1.0)
        lengths.add(frame.shape[1])
        contexts |= set(clean.sum(1).int().tolist())
        dropped["given"] += int((~acted).sum())
        dropped["text"] += int((~told).sum())
    assert (lengths, contexts) == ({3, 6}, {1, 2, 3})
    assert all(40 < count < 170 for count in dropped.values())  # of 512
    again = batch(stage, 7)
    assert all(torch.equal(made[name], again[name]) for name in made)


def test_the_loss_is_on_new_frames_only(stage):
    made = batch(stage, 0, 4)
    made["latents"] = made["latents"] / 100
    loss = float(stage.objective(**made)["loss"].detach())
    for frames, same in ((made["clean"] > 0, True), (made["clean"] == 0, False)):
        noise = torch.where(frames[..., None, None, None], made["noise"] + 1, made["noise"])
        other = float(stage.objective(**{**made, "noise": noise})["loss"].detach())
        assert (other == pytest.approx(loss)) is same
    with pytest.raises(UserError, match="lengths=12 fits no episode: they need 11 decisions"):
        ChunkStage(stage.data, stage.objective, stage.text, ChunkSettings((3, 12)))


@pytest.mark.parametrize("damaged", [False, True])
def test_what_cannot_be_loaded_leaves_nothing(small_dataset, tmp_path, damaged, capfd):
    """And the libraries say nothing of their own."""
    base = tmp_path / "base"
    (base / "unet").mkdir(parents=True)
    if damaged:
        (base / "unet" / "config.json").write_text("{")
    options = [f"train.base={base}", f"out={tmp_path / 'out'}"]
    assert cli.main(["train", "--quiet", "--data", str(small_dataset), *SMALL, *options]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"train.base='{base}' can't be loaded (" in said
    assert not (tmp_path / "out").exists()


def test_loading_is_silent(modelscope, capfd, trained, train_in_steps, small_dataset, tmp_path):
    recipe = filled(Recipe, compose("train", [*SMALL, f"train.base={modelscope[1]}"])["train"], "train")
    capfd.readouterr()
    pipeline = first_pipeline(recipe, trained.card, 10, 0, None)
    assert capfd.readouterr() == ("", "")
    assert pipeline.unet.dtype == torch.float32
    # It is nothing for the video transformer to go on from.
    with pytest.raises(UserError, match="has no video transformer to go on from"):
        train_in_steps(small_dataset, tmp_path / "out", f"checkpoint={trained.path}")
