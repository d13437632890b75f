"""A fresh, untrained pipeline of any size: what training starts from, and what tests use. Its text encoder is a CLIP
small enough to ship: ModelScope's classes, trained to know which words texts have in common."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfvgen_plan.model.pipeline import SlowFastVGenPipeline, encode_text
from sfvgen_plan.model.transformer import VideoTransformer

WORD = r"[a-z]+|[^a-z\s]"
COMMON = 0.01  # what a word counts at least that all texts have
APART = 0.2  # by how much the cosine of different texts with the same words is less than 1
_START, _END = "<|startoftext|>", "<|endoftext|>"


def build_autoencoder(size: int, widths: Sequence[int], latent_channels: int, norm_groups: int = 8) -> AutoencoderKL:
    """KL autoencoder that halves the picture at every width but the first."""
    return AutoencoderKL(
        sample_size=size,
        block_out_channels=tuple(widths),
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=norm_groups,
        latents_mean=[0.0] * latent_channels,
        latents_std=[1.0] * latent_channels,
    )


def text_networks(texts: Sequence[str], dim: int) -> tuple[Any, Any]:
    """A tokenizer with the words of the texts, and an untrained encoder of ``dim`` features."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tiny_tokenizer(texts, Path(folder))
    return tokenizer, tiny_text_encoder(tokenizer, dim)


def build_pipeline(
    instructions: Sequence[str],
    size: int = 128,
    action_dim: int = 4,
    readouts: int = 10,
    autoencoder_widths: Sequence[int] = (24, 48, 64, 96, 128),
    latent_channels: int = 16,
    text_dim: int = 64,
    transformer: Mapping[str, Any] | None = None,
    cameras: int = 1,
) -> SlowFastVGenPipeline:
    """An untrained pipeline; the defaults are those of the bundled checkpoint.

    ``transformer``: what its ``VideoTransformer`` differs in from the defaults. ``cameras``: pictures in a frame.
    """
    tokenizer, text_encoder = text_networks(instructions, text_dim)
    side = size // 2 ** (len(autoencoder_widths) - 1)
    sizes: dict[str, Any] = {
        "height": side * cameras,
        "width": side,
        "latent_channels": latent_channels,
        "action_dim": action_dim,
    }
    units: dict[str, Any] = {"estimate_mean": [0.0] * readouts, "estimate_std": [1.0] * readouts}
    return SlowFastVGenPipeline(
        vae=build_autoencoder(size, autoencoder_widths, latent_channels),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=VideoTransformer(**sizes, text_dim=text_dim, readouts=readouts, **units, **(transformer or {})),
    )


def tiny_tokenizer(texts: Sequence[str], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer with one token a word of ``texts``; single letters remain for words it has never seen."""
    words = sorted({word for text in texts for word in re.findall(WORD, text.lower())})
    symbols = [chr(c) for c in range(33, 127)]
    merges: list[str] = []
    vocabulary = dict.fromkeys([*symbols, *(s + "</w>" for s in symbols)])
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:  # byte-pair merges that build the word from its letters, left to right
            merges.append(f"{parts[0]} {parts[1]}")
            parts[:2] = [parts[0] + parts[1]]
            vocabulary[parts[0]] = None
    tokens = [*vocabulary, _START, _END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges), ""]))
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=32)


def tiny_text_encoder(tokenizer: CLIPTokenizer, width: int = 64) -> CLIPTextModel:
    """An untrained two-layer CLIP text encoder for the tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def fit_text_encoder(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: Sequence[str], steps: int, seed: int
) -> float:
    """Let the pooled features of ``texts`` be as much alike as the texts have words in common (``overlap``): what a
    colour or a direction means is then learnt from all texts that name it, and still no two of them are the same.

    An untrained encoder maps all sentences to nearly the same point. Returns the largest error of a cosine between two
    texts.
    """
    wanted = overlap(texts).to(encoder.device)
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    error = torch.zeros(())
    for _ in range(steps):
        _, pooled = encode_text(tokenizer, encoder, texts)
        unit = torch.nn.functional.normalize(pooled, dim=-1)
        error = unit @ unit.T - wanted
        loss = error.square().sum() / len(texts) + (pooled.square().mean(-1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(error.detach().abs().max())


def overlap(texts: Sequence[str]) -> torch.Tensor:
    """Cosines (n, n) of the texts as bags of words, each of which counts as much as it is rare (inverse document
    frequency, Spärck Jones 1972); different texts, of whatever words, are a little apart."""
    bags = [set(re.findall(WORD, text.lower())) for text in texts]
    words = sorted(set().union(*bags))
    told = torch.tensor([[float(word in bag) for word in words] for bag in bags])
    told = told * ((1 + len(texts)) / (1 + told.sum(0))).log().clamp_min(COMMON)
    alike = torch.nn.functional.normalize(told, dim=1)
    return (1 - APART) * alike @ alike.T + APART * torch.eye(len(texts))
