"""A fresh, untrained pipeline of any size: what training starts from, and what tests use."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL

from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import tiny_text_encoder, tiny_tokenizer
from sfvgen_plan.model.transformer import VideoTransformer


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
