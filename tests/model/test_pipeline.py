"""The diffusers pipeline: frames to latents and back, videos that go on, ModelScope's weights."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from transformers import CLIPTextModel

from sfvgen_plan.model.build import encode_text, fit_text_encoder, overlap, tiny_text_encoder, tiny_tokenizer
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW, SlowFastVGenPipeline
from sfvgen_plan.model.unet import SUMMED

TEXTS = ["reach the red goal", "push the puck to the green goal"]


@pytest.fixture(scope="module")
def pipeline(make_pipeline):
    return make_pipeline()


@pytest.fixture(scope="module")
def unet(modelscope):
    """ModelScope's networks, their further channels told apart from zero."""
    torch.manual_seed(0)
    made = SlowFastVGenPipeline.from_modelscope(str(modelscope[1]))
    torch.nn.init.normal_(made.unet.conv_in.weight, std=0.2)
    return made


def inputs(past, new, batch=2, seed=0):
    """Context, actions and noise."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, past, 4, 8, 8, generator=generator),
        torch.rand(batch, new, 4, generator=generator) * 2 - 1,
        torch.randn(batch, new, 4, 8, 8, generator=generator),
    )


def generate(pipeline, past, new, batch=2, steps=2, **changed):
    context, actions, noise = inputs(past, new, batch)
    text = pipeline.embed([TEXTS[n % 2] for n in range(batch)])[0]
    given = {"context": context, "actions": actions, "noise": noise, "text": text, "steps": steps, **changed}
    return pipeline.generate(**given)


def test_any_split_of_the_window_and_more_frames_is_an_error(unet):
    for past, new in ((0, 1), (1, 1), (2, 8), (1, 31), (31, 1), (0, 32)):
        latents = generate(unet, past, new, batch=1, steps=1)
        assert latents.shape == (1, new, 4, 8, 8)
        assert latents.isfinite().all()
    for past, new in ((1, 32), (32, 1), (0, 33)):
        with pytest.raises(ValueError, match=f"context window of {CONTEXT_WINDOW}"):
            generate(unet, past, new, batch=1)


def test_a_chunk_does_not_depend_on_the_batch(unet):
    together = generate(unet, 2, 4, batch=5)
    context, actions, noise = inputs(2, 4, 5)
    for n in range(5):
        text = unet.embed([TEXTS[n % 2]])[0]
        alone = unet.generate(context[n : n + 1], actions[n : n + 1], text, noise[n : n + 1], 2)
        # Shorter texts are padded with zeros in a batch, which attention sees.
        if n % 2:
            torch.testing.assert_close(alone[0], together[n], atol=1e-4, rtol=0)
    order = torch.tensor([4, 2, 0])
    text = unet.embed(TEXTS)[0][[0, 0, 0]]
    mixed = unet.generate(context[order], actions[order], text, noise[order], 2)
    torch.testing.assert_close(mixed, together[order], atol=1e-4, rtol=0)


def test_every_condition_matters_and_no_action_is_not_the_action_zero(unet):
    context, actions, noise = inputs(2, 4, seed=1)
    plain, other = generate(unet, 2, 4), {"context": context, "actions": actions, "noise": noise}
    for name, value in {**other, "text": unet.embed(TEXTS[::-1])[0]}.items():
        assert not generate(unet, 2, 4, **{name: value}).allclose(plain), name
    without = generate(unet, 2, 4, actions=None)
    assert not without.allclose(generate(unet, 2, 4, actions=torch.zeros(2, 4, 4)))


def test_frames_to_latents_and_back(pipeline):
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    latents = pipeline.encode(frames)
    assert latents.shape == (2, 3, 4, 8, 8)
    assert latents.dtype == torch.float32
    torch.testing.assert_close(pipeline.encode(frames, batch=4), latents, atol=1e-5, rtol=0)
    decoded = pipeline.decode(latents)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8


def test_standardised_latents(make_pipeline):
    pipeline = make_pipeline()
    raw = torch.randn(6, 4, 8, 8)
    for mean, std in ((None, None), ([1.0, -2.0, 0.0, 0.5], [2.0, 0.5, 1.0, 4.0])):
        pipeline.vae.register_to_config(latents_mean=mean, latents_std=std)
        there = pipeline.standardise(raw)
        assert not there.allclose(raw)
        torch.testing.assert_close(pipeline.standardise(there, inverse=True), raw)


@pytest.mark.parametrize(("name", "size"), [("pipeline", 32), ("unet", 16)])
def test_calling_the_pipeline_continues_videos(request, name, size):
    pipeline = request.getfixturevalue(name)
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, size, size, 3), dtype=np.uint8)
    first = pipeline(frames, TEXTS, 3, num_inference_steps=1, seed=4)
    assert first.shape == (2, 3, size, size, 3)
    assert (pipeline(frames, TEXTS, 3, num_inference_steps=1, seed=4) == first).all()
    assert (pipeline(frames, TEXTS, 3, num_inference_steps=1, seed=5) != first).any()


@torch.no_grad()
def test_inflated_weights_give_the_original_output_bit_for_bit(modelscope):
    original, folder = modelscope
    unet = SlowFastVGenPipeline.from_modelscope(str(folder)).unet
    latents = torch.randn(2, 5, 4, 8, 8)
    text = original.text_encoder(torch.tensor([[1, 2, 3], [4, 5, 6]])).last_hidden_state
    timestep = torch.tensor([7, 800])
    expected = original.unet(latents.transpose(1, 2), timestep, text).sample.transpose(1, 2)
    none = torch.zeros(2, 5)
    assert unet.denoise(latents, none, torch.zeros(2, 5, 4), none, timestep, text).equal(expected)
    # The weights of the further channels are zero, so that before training no condition changes anything.
    conditioned = unet.denoise(latents, none + 1, torch.rand(2, 5, 4), none + 1, timestep, text)
    torch.testing.assert_close(conditioned, expected)


@torch.no_grad()
def test_every_frame_is_told_the_sum_of_the_actions_since_the_last_clean_frame_and_shown_that_one(modelscope):
    unet, seen = SlowFastVGenPipeline.from_modelscope(str(modelscope[1])).unet, []
    unet.conv_in.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    channels, numbers = unet.config.latent_channels, unet.config.action_dim
    clean = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    latents, actions = torch.randn(2, 5, channels, 8, 8), torch.randn(2, 5, numbers)
    given = (1 - clean) * torch.tensor([[1.0], [0.0]])
    unet.denoise(latents, clean, actions, given, torch.ones(2), torch.zeros(2, 3, unet.config.cross_attention_dim))
    told = seen[0].unflatten(0, (2, 5))
    sums, shown = told[:, :, channels + 2 + numbers :][:, :, :numbers, 3, 3], told[:, :, -channels:]
    assert not sums[0, :2].any() and not sums[1].any()  # a dropped action adds nothing
    torch.testing.assert_close(sums[0, 2:] * SUMMED, actions[0, 2:].cumsum(0))
    assert all(frame.equal(latents[0, 1]) for frame in shown[0]) and not shown[1].any()


def test_an_inflated_pipeline_has_their_classes_generates_saves_and_loads(modelscope, tmp_path):
    assert SlowFastVGenPipeline.from_modelscope(str(modelscope[1]), action_dim=6).unet.config.action_dim == 6
    pipeline = SlowFastVGenPipeline.from_modelscope(str(modelscope[1]))
    assert isinstance(pipeline.text_encoder, CLIPTextModel) and isinstance(pipeline.scheduler, DDIMScheduler)
    assert (pipeline.scheduler.config.beta_schedule, pipeline.transformer) == ("scaled_linear", None)
    made = generate(pipeline, 1, 4)
    assert made.shape == (2, 4, 4, 8, 8)
    pipeline.save_pretrained(tmp_path)
    loaded = SlowFastVGenPipeline.from_pretrained(str(tmp_path), local_files_only=True)
    assert generate(loaded, 1, 4).equal(made)
    frames = np.zeros((1, 1, 16, 16, 3), np.uint8)
    assert loaded(frames, TEXTS[:1], 2, num_inference_steps=2).shape == (1, 2, 16, 16, 3)


WORDS = ["reach the red goal position", "push the puck to the goal", "open a drawer", "close the drawer"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(WORDS, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def encoder(tokenizer):
    torch.manual_seed(0)
    return tiny_text_encoder(tokenizer, 16).eval()


def test_known_words_are_one_token_unknown_ones_are_spelt_and_long_texts_cut(tokenizer, encoder):
    for text in WORDS:
        assert len(tokenizer(text).input_ids) == len(text.split()) + 2
    tokens = tokenizer("levitate").input_ids
    assert len(tokens) > 3
    assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == "levitate"
    features, _ = encode_text(tokenizer, encoder, ["drawer " * 100])
    assert features.shape == (1, tokenizer.model_max_length, 16)


@torch.no_grad()
def test_features_do_not_depend_on_the_other_texts(tokenizer, encoder):
    together, pooled = encode_text(tokenizer, encoder, WORDS)
    for place, text in enumerate(WORDS):
        alone, pooled_alone = encode_text(tokenizer, encoder, [text])
        length = alone.shape[1]
        torch.testing.assert_close(together[place, :length], alone[0], atol=1e-5, rtol=0)
        assert not together[place, length:].any()
        torch.testing.assert_close(pooled[place], pooled_alone[0], atol=1e-5, rtol=0)


def test_texts_are_fitted_to_be_as_much_alike_as_their_words(tokenizer, encoder):
    with torch.no_grad():
        unit = torch.nn.functional.normalize(encode_text(tokenizer, encoder, WORDS)[1], dim=-1)
    before = float((unit @ unit.T - overlap(WORDS)).abs().max())
    after = fit_text_encoder(tokenizer, encoder, WORDS, steps=60, seed=0)
    assert before > 0.5
    assert after < 0.2
    # And is a function of the seed.
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        encoder = tiny_text_encoder(tokenizer, 16)
        fit_text_encoder(tokenizer, encoder, WORDS, steps=3, seed=0)
        weights.append(torch.cat([p.flatten() for p in encoder.parameters()]))
    assert weights[0].equal(weights[1])


def test_the_overlap_of_texts_is_that_of_their_rare_words():
    alike = overlap(["move the red cube", "move the blue cube", "open the drawer", "cube red the move"])
    assert torch.allclose(alike.diag(), torch.ones(4)) and torch.equal(alike, alike.T)
    assert alike[0, 3] == pytest.approx(0.8)  # the same words, but another text
    assert 0.1 < float(alike[0, 1]) < 0.8 and float(alike[0, 2]) < 0.05


def test_what_a_word_means_is_read_out_of_texts_whose_meaning_was_never_told(tmp_path):
    colours, ways = ["red", "green", "blue"], ["left", "right", "front"]
    texts = [f"move the {colour} cube to the {way}" for colour in colours for way in ways]
    known, new = texts[:-1], texts[-1]
    tokenizer = tiny_tokenizer(texts, tmp_path)
    torch.manual_seed(0)
    encoder = tiny_text_encoder(tokenizer, 16)
    fit_text_encoder(tokenizer, encoder, texts, steps=150, seed=0)
    with torch.no_grad():
        features = torch.nn.functional.pad(encode_text(tokenizer, encoder, texts)[1], (0, 1), value=1.0)
    for words in (colours, ways):
        named = torch.tensor([[float(word in text) for word in words] for text in known])
        readout = torch.linalg.solve(features[:-1].T @ features[:-1] + 0.1 * torch.eye(17), features[:-1].T @ named)
        assert words[int((features[-1] @ readout).argmax())] in new
