"""A fresh, untrained pipeline of any size: what training starts from, and what tests use."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from diffusers import AutoencoderKL, EDMEulerScheduler

from sfvgen_plan.model.heads import ActionPrior, Heads
from sfvgen_plan.model.motion import Motion
from sfvgen_plan.model.pipeline import SlowFastVGenPipeline
from sfvgen_plan.model.text import tiny_text_encoder, tiny_tokenizer
from sfvgen_plan.model.unet import VideoUNet


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


def build_readers(
    latent_channels: int,
    sample_size: int,
    text_dim: int,
    action_dim: int,
    heads_width: int = 48,
    prior_width: int = 64,
) -> dict[str, Heads | ActionPrior]:
    """Untrained heads and priors for latents and texts of these sizes, by their names in the pipeline."""
    sizes = {"latent_channels": latent_channels, "sample_size": sample_size, "text_dim": text_dim}
    return {
        "heads": Heads(**sizes, width=heads_width),
        "prior": ActionPrior(**sizes, width=prior_width, action_dim=action_dim),
        "prior10": ActionPrior(**sizes, width=heads_width, action_dim=action_dim),
    }


def build_pipeline(
    instructions: Sequence[str],
    size: int = 128,
    action_dim: int = 4,
    autoencoder_widths: Sequence[int] = (24, 48, 64, 96, 128),
    latent_channels: int = 16,
    unet_widths: Sequence[int] = (96, 128),
    head_dim: int = 32,
    norm_groups: int = 32,
    text_dim: int = 64,
    heads_width: int = 48,
    prior_width: int = 64,
    motion_width: int = 0,
) -> SlowFastVGenPipeline:
    """An untrained pipeline; the defaults are those of the bundled checkpoint.

    ``motion_width`` 0: without ``motion``, which tells the denoiser where actions take the robot.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tiny_tokenizer(instructions, Path(folder))
    blocks = len(unet_widths)
    latent_size = size // 2 ** (len(autoencoder_widths) - 1)
    latent = {"latent_channels": latent_channels, "sample_size": latent_size}
    motion = Motion(**latent, text_dim=text_dim, action_dim=action_dim, width=motion_width) if motion_width else None
    return SlowFastVGenPipeline(
        vae=build_autoencoder(size, autoencoder_widths, latent_channels),
        text_encoder=tiny_text_encoder(tokenizer, text_dim),
        tokenizer=tokenizer,
        unet=VideoUNet(
            sample_size=latent_size,
            latent_channels=latent_channels,
            action_dim=action_dim + (motion.readouts if motion is not None else 0),
            down_block_types=("CrossAttnDownBlock3D",) * blocks,
            up_block_types=("CrossAttnUpBlock3D",) * blocks,
            block_out_channels=tuple(unet_widths),
            layers_per_block=1,
            norm_num_groups=norm_groups,
            cross_attention_dim=text_dim,
            attention_head_dim=head_dim,
        ),
        scheduler=EDMEulerScheduler(sigma_min=0.02, sigma_max=20.0, sigma_data=1.0),
        **build_readers(latent_channels, latent_size, text_dim, action_dim, heads_width, prior_width),
        motion=motion,
    )
