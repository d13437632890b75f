"""The tiny CLIP: every word a token, every instruction a direction of its own."""

import pytest
import torch

from sfvgen_plan.model.build import encode_text, fit_text_encoder, tiny_text_encoder, tiny_tokenizer

TEXTS = ["reach the red goal position", "push the puck to the goal", "open a drawer", "close the drawer"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(TEXTS, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def encoder(tokenizer):
    torch.manual_seed(0)
    return tiny_text_encoder(tokenizer, 16).eval()


def test_known_words_are_one_token_unknown_ones_are_spelt_and_long_texts_cut(tokenizer, encoder):
    for text in TEXTS:
        assert len(tokenizer(text).input_ids) == len(text.split()) + 2
    tokens = tokenizer("levitate").input_ids
    assert len(tokens) > 3
    assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == "levitate"
    features, _ = encode_text(tokenizer, encoder, ["drawer " * 100])
    assert features.shape == (1, tokenizer.model_max_length, 16)


@torch.no_grad()
def test_features_do_not_depend_on_the_other_texts(tokenizer, encoder):
    together, pooled = encode_text(tokenizer, encoder, TEXTS)
    for place, text in enumerate(TEXTS):
        alone, pooled_alone = encode_text(tokenizer, encoder, [text])
        length = alone.shape[1]
        torch.testing.assert_close(together[place, :length], alone[0], atol=1e-5, rtol=0)
        assert not together[place, length:].any()
        torch.testing.assert_close(pooled[place], pooled_alone[0], atol=1e-5, rtol=0)


def test_fitting_spreads_the_instructions(tokenizer, encoder):
    with torch.no_grad():
        unit = torch.nn.functional.normalize(encode_text(tokenizer, encoder, TEXTS)[1], dim=-1)
    before = float((unit @ unit.T).fill_diagonal_(0).max())
    after = fit_text_encoder(tokenizer, encoder, TEXTS, steps=60, seed=0)
    assert before > 0.5
    assert after < 0.2
    # And is a function of the seed.
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        encoder = tiny_text_encoder(tokenizer, 16)
        fit_text_encoder(tokenizer, encoder, TEXTS, steps=3, seed=0)
        weights.append(torch.cat([p.flatten() for p in encoder.parameters()]))
    assert weights[0].equal(weights[1])
