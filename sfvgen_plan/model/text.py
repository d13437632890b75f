"""A CLIP text encoder small enough to ship: ModelScope's classes, trained to tell the instructions apart."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

_START, _END = "<|startoftext|>", "<|endoftext|>"


def tiny_tokenizer(texts: Sequence[str], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer with one token a word of ``texts``; single letters remain for words it has never seen."""
    words = sorted({word for text in texts for word in re.findall(r"[a-z]+|[^a-z\s]", text.lower())})
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


def encode_text(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token features (B, L, E), padded to the longest, and pooled features (B, E)."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(encoder.device)
    output = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
    return output.last_hidden_state * tokens.attention_mask[..., None], output.pooler_output


def fit_text_encoder(
    tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: Sequence[str], steps: int, seed: int
) -> float:
    """Spread the pooled features of ``texts`` apart, so that tasks are told apart from the first training step on.

    An untrained encoder maps all sentences to nearly the same point. Returns the largest cosine between two texts.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    cosine = torch.zeros(())
    for _ in range(steps):
        _, pooled = encode_text(tokenizer, encoder, texts)
        unit = torch.nn.functional.normalize(pooled, dim=-1)
        cosine = (unit @ unit.T).fill_diagonal_(0.0)
        loss = cosine.square().sum() / len(texts) + (pooled.square().mean(-1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(cosine.detach().max())
