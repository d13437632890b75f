"""What the denoiser is shown: windows of one episode, with and without conditions, never one held out."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.autoencoder import AutoencoderStage
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.learning.denoiser import DenoiserObjective, DenoiserStage, WindowSettings
from sfvgen_plan.learning.heads import HeadSettings, HeadsObjective, HeadsStage, PriorObjective, PriorStage
from sfvgen_plan.learning.trainer import StageSettings, fit

SHARP = WindowSettings(lengths=(3, 6), context_noise=0.0, dream=0.0, longest_context=4)
TASKS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_small_dataset):
    """Latents hold the number of their frame, so that batches say which frames they are of."""
    episodes = load_episodes(write_small_dataset(tmp_path_factory.mktemp("data") / "set", 4, 7))
    data = to_training_data(episodes, torch.device("cpu"), held_out_every=4, few_episodes=1)
    number = torch.arange(len(data.task), dtype=torch.float32)
    data.latents = number.view(-1, 1, 1, 1).expand(-1, 4, 8, 8).contiguous()
    return data


@pytest.fixture(scope="module")
def text():
    """Token features that say which task they are of."""
    return torch.arange(1.0, TASKS + 1).view(-1, 1, 1).expand(-1, 3, 16)


def stage_of(make_pipeline, data, text, settings, **sizes):
    pipeline = make_pipeline(**sizes)
    return DenoiserStage(data, DenoiserObjective(pipeline.unet, pipeline.scheduler), text, settings)


def batches(stage, count, size=32):
    for step in range(count):
        generator = torch.Generator().manual_seed(step)
        torch.manual_seed(step)
        yield stage.batch(step, size, generator, torch.nn.Identity())


def numbers(latents):
    """Frame numbers (B, T) of the latents."""
    return latents[:, :, 0, 0, 0].long()


@pytest.fixture(scope="module")
def drawn(make_pipeline, data, text):
    return list(batches(stage_of(make_pipeline, data, text, SHARP), 40))


def test_windows_are_of_all_lengths_and_one_episode(drawn, data):
    assert {batch["latents"].shape[1] for batch in drawn} == {3, 6}
    for batch in drawn:
        frames = numbers(batch["latents"])
        assert (data.first[frames] == data.first[frames[:, :1]]).all()
        steps = frames.diff(dim=1)
        standing = frames[:, 1] == data.first[frames[:, 1]]
        # At most one frame stands for what was before the episode.
        assert ((steps[:, 0] == 1) | ((steps[:, 0] == 0) & standing)).all()
        assert (steps[:, 1:] == 1).all()
        assert batch["actions"].equal(data.action[frames])


def test_windows_begin_before_episodes_and_reach_their_ends(drawn, data):
    frames = torch.cat([numbers(batch["latents"])[:, [0, 1, -1]] for batch in drawn])
    assert (frames[:, 0] == frames[:, 1]).any()
    assert (frames[:, 2] == data.last[frames[:, 2]]).any()


def test_held_out_episodes_are_never_drawn(drawn, data):
    seen = torch.cat([numbers(batch["latents"]).flatten() for batch in drawn]).unique()
    assert data.held_out.any()
    assert not data.held_out[seen].any()
    assert len(seen) == int((~data.held_out).sum())


def test_unconditional_samples_have_no_clean_frame_no_text_and_no_action(drawn):
    free = [batch["clean"].sum(1) == 0 for batch in drawn]
    assert any(mask.any() for mask in free)
    for batch, mask in zip(drawn, free, strict=True):
        assert not batch["given"][mask].any()
        assert not batch["text"][mask].any()
    share = torch.cat(free).float().mean()
    assert 0.05 < share < 0.15


def test_conditions(drawn, data):
    contexts = set()
    dropped_action = dropped_text = both = 0
    for batch in drawn:
        clean, given = batch["clean"], batch["given"]
        conditioned = clean.sum(1) > 0
        contexts |= set(clean.sum(1).int().tolist())
        assert (clean.diff(dim=1) <= 0).all()  # clean frames come first
        assert (clean[:, -1] == 0).all()
        assert not (given * clean).any()
        acted = given.any(dim=1)
        assert given[acted].equal(1 - clean[acted])
        told = batch["text"].flatten(1).any(dim=1)
        task = data.task[numbers(batch["latents"])[:, -1]]
        assert (batch["text"][told][:, 0, 0] == task[told] + 1).all()
        assert batch["context"].equal(batch["latents"])
        dropped_action += int((conditioned & ~acted).sum())
        dropped_text += int((conditioned & ~told).sum())
        both += int((conditioned & acted & told).sum())
    assert contexts == {0, 1, 2, 3, 4}
    assert 0 < dropped_action < both
    assert 0 < dropped_text < both


def test_samples_told_of_a_sub_goal_lose_their_actions_more_often(make_pipeline, data, text):
    told = replace(data, told=data.task == 1)
    settings = replace(SHARP, unconditional=0.0, drop_action=0.0, drop_action_told=1.0)
    for batch in batches(stage_of(make_pipeline, told, text, settings), 4):
        knows = ~told.told[numbers(batch["latents"])[:, -1]]
        assert 0 < knows.sum() < len(knows)
        assert batch["given"].equal((1 - batch["clean"]) * knows[:, None])


def test_batches_are_functions_of_seed_and_step(make_pipeline, data, text):
    settings = replace(SHARP, context_noise=0.2, dream=1.0, dream_from=1)
    first, second = (list(batches(stage_of(make_pipeline, data, text, settings), 3, 4)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert all(one[name].equal(other[name]) for name in one)


def test_dreams_replace_the_context_but_not_the_truth(make_pipeline, data, text):
    stage = stage_of(make_pipeline, data, text, replace(SHARP, dream=1.0, dream_from=2))
    early, _, late = batches(stage, 3, 4)
    assert early["context"].equal(early["latents"])
    assert not late["context"].allclose(late["latents"])
    assert (late["latents"] == late["latents"].round()).all()


def test_a_dream_reaches_the_frames_that_may_be_shown_clean_and_starts_from_real_ones(make_pipeline, data, text):
    stage = stage_of(make_pipeline, data, text, SHARP)
    seen = []

    def denoise(frames, clean, actions, given, timestep, words):
        seen.append(frames[:, : SHARP.context])
        return torch.full_like(frames, 50.0)

    stage.denoise = denoise
    newest = data.last[data.first == torch.arange(len(data.first))][:4]
    dreamt = stage._dream(newest, 6)
    truth = data.latents[data.window(newest, 6)]
    assert len(seen) == 1
    assert (dreamt[:, :4] != truth[:, :4]).all()
    assert dreamt[:, 4:].equal(truth[:, 4:])
    assert (seen[0] == seen[0].round()).all()  # latents here are whole numbers, where they are real


def test_the_loss_is_on_new_frames_only(make_pipeline, data, text):
    stage = stage_of(make_pipeline, data, text, SHARP)
    batch = next(batches(stage, 1, 4))
    loss = stage.objective(**batch)["loss"]
    # The truth of a clean frame is not looked at: the network is shown the context.
    spoilt = torch.where(batch["clean"][..., None, None, None] > 0, 99.0, batch["latents"])
    torch.testing.assert_close(stage.objective(**{**batch, "latents": spoilt})["loss"], loss)
    spoilt = torch.where(batch["clean"][..., None, None, None] > 0, batch["latents"], 99.0)
    assert not stage.objective(**{**batch, "latents": spoilt})["loss"].allclose(loss)


def test_the_loss_goes_down(make_pipeline, data, text, tmp_path):
    """On one small picture that never changes."""
    picture = torch.linspace(-1, 1, 64).view(4, 4, 4).sin()
    still = replace(data, latents=picture.expand(len(data.task), -1, -1, -1))
    stage = stage_of(make_pipeline, still, text, replace(SHARP, lengths=(3,), log_mean=1.0))
    losses: list[float] = []
    settings = StageSettings(steps=25, batch=4, learning_rate=3e-3, warmup=2)
    fit(stage, settings, Accelerator(cpu=True), tmp_path, 0, log_every=1, on_step=lambda _, x: losses.append(x["loss"]))
    assert sum(losses[-6:]) < 0.6 * sum(losses[:6])


def test_lengths_that_fit_no_episode(make_pipeline, data, text):
    with pytest.raises(UserError, match="lengths=20"):
        stage_of(make_pipeline, data, text, replace(SHARP, lengths=(3, 20)))


def test_other_stages_draw_no_held_out_frames_either(make_pipeline, data):
    pipeline, pooled = make_pipeline(), torch.zeros(TASKS, 16)
    marked = replace(data, frames=data.held_out.view(-1, 1, 1, 1).to(torch.uint8).expand(-1, 32, 32, 3))
    marked.latents = data.held_out.view(-1, 1, 1, 1).float().expand(-1, 4, 8, 8)
    learning = HeadSettings(latent_noise=0.0)
    heads = HeadsObjective(pipeline.heads, 0.8)
    usable = data.indices(data.has_expert & ~data.held_out)
    for frames in batches(AutoencoderStage(marked, torch.nn.Identity(), (4, 8, 8)), 4):
        assert not frames["frames"].any()
        assert not frames["background"].any()
    prior = PriorStage("prior", marked, PriorObjective(pipeline.prior), pooled, usable, learning)
    for stage, average in ((HeadsStage(marked, heads, pooled, learning), heads), (prior, None)):
        for step in range(4):
            batch = stage.batch(step, 64, torch.Generator().manual_seed(step), average)
            assert not batch["pairs"].any()
