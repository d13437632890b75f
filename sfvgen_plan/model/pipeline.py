"""SlowFast-VGen as a diffusers pipeline: one code path for the bundled checkpoint and for ModelScope's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from sfvgen_plan.cameras import pictures
from sfvgen_plan.model.noise import normal, sample
from sfvgen_plan.model.transformer import VideoTransformer
from sfvgen_plan.model.unet import VideoUNet

CONTEXT_WINDOW = 32
"""Most frames, clean and new together, in one pass of a ``VideoUNet`` (f_p + f_g, SlowFast-VGen section 3.2)."""


class SlowFastVGenPipeline(DiffusionPipeline):
    """Masked conditional video diffusion driven by text and by an action per frame.

    Components follow diffusers' folder layout, so ``save_pretrained`` and ``from_pretrained`` work as everywhere:
    ``vae``, ``text_encoder`` and ``tokenizer`` (CLIP), and what denoises: ``transformer`` (``VideoTransformer``), or
    for ModelScope's weights ``unet`` (``VideoUNet``) with its ``scheduler`` (any of diffusers').
    """

    _optional_components = ["transformer", "unet", "scheduler"]  # noqa: RUF012 (diffusers reads it from the class)

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        transformer: VideoTransformer | None = None,
        unet: VideoUNet | None = None,
        scheduler: Any = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
            unet=unet,
            scheduler=scheduler,
        )

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""
        return int((self.transformer or self.unet).config.action_dim)

    @classmethod
    def from_modelscope(cls, path: str, action_dim: int = 4, **options: Any) -> SlowFastVGenPipeline:
        """Load a text-to-video checkpoint in ModelScope's diffusers layout and inflate its input convolution.

        Args:
            path: a local folder or a hub name such as ``ali-vilab/text-to-video-ms-1.7b``.
            action_dim: numbers in an action.
            options: passed on to every component's ``from_pretrained`` (``dtype``, ``cache_dir``, …).
        """
        from diffusers import DDIMScheduler

        unet = UNet3DConditionModel.from_pretrained(path, subfolder="unet", **options)
        hub = {k: v for k, v in options.items() if k != "dtype"}
        return cls(
            vae=AutoencoderKL.from_pretrained(path, subfolder="vae", **options),
            text_encoder=CLIPTextModel.from_pretrained(path, subfolder="text_encoder", **options),
            tokenizer=CLIPTokenizer.from_pretrained(path, subfolder="tokenizer", **hub),
            unet=VideoUNet.inflate(unet, action_dim),
            scheduler=DDIMScheduler.from_pretrained(path, subfolder="scheduler", **hub),
        )

    @torch.no_grad()
    def encode(self, frames: np.ndarray | Tensor, batch: int = 256) -> Tensor:
        """Frames (..., H, W, 3) uint8 -> standardised latents (..., C, h, w) float32. Each of several square pictures
        one above the other is encoded by itself."""
        frames = torch.as_tensor(frames)
        lead, (height, width) = frames.shape[:-3], frames.shape[-3:-1]
        count = pictures(height, width)
        parts = []
        for part in frames.reshape(-1, height // count, width, 3).split(batch):
            pixels = part.to(self.vae.device).movedim(-1, 1).to(self.vae.dtype) / 127.5 - 1
            parts.append(self.vae.encode(pixels, return_dict=False)[0].mode().float())
        latents = stacked(self.standardise(torch.cat(parts)), count)
        return latents.reshape(*lead, *latents.shape[1:])

    @torch.no_grad()
    def decode(self, latents: Tensor, batch: int = 512) -> np.ndarray:
        """Standardised latents (..., C, h, w) -> frames (..., H, W, 3) uint8."""
        lead, count = latents.shape[:-3], pictures(*latents.shape[-2:])
        parts = []
        for part in apart(latents.reshape(-1, *latents.shape[-3:]), count).split(batch):
            pixels = self.vae.decode(self.standardise(part, inverse=True).to(self.vae.dtype), return_dict=False)[0]
            bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            parts.append(bytes_.movedim(1, -1).contiguous())
        frames = torch.cat(parts)
        if frames.is_cuda:  # pinned memory is given again by its allocator, where fresh pages cost more than the copy
            frames = torch.empty(frames.shape, dtype=torch.uint8, pin_memory=True).copy_(frames)
        return frames.reshape(*lead, count * frames.shape[1], *frames.shape[2:]).numpy()

    def standardise(self, latents: Tensor, inverse: bool = False) -> Tensor:
        """Autoencoder latents (B, C, h, w) to unit variance per channel, or back."""
        config = self.vae.config
        if config.latents_mean is None:
            return latents / config.scaling_factor if inverse else latents * config.scaling_factor
        mean = latents.new_tensor(config.latents_mean).view(1, -1, 1, 1)
        std = latents.new_tensor(config.latents_std).view(1, -1, 1, 1)
        return latents * std + mean if inverse else (latents - mean) / std

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts -> token features (B, L, E) and pooled features (B, E), float32."""
        tokens, pooled = encode_text(self.tokenizer, self.text_encoder, texts)
        return tokens.float(), pooled.float()

    @torch.no_grad()
    def generate(self, context: Tensor, actions: Tensor | None, text: Tensor, noise: Tensor, steps: int = 3) -> Tensor:
        """A ``VideoUNet``'s new latents from clean context latents (paper section 3.2: only new frames are updated).

        Args:
            context: (B, P, C, h, w) standardised latents, oldest first; P may be 0.
            actions: (B, G, A) that lead into each new frame, or None for no action condition.
            text: (B, L, E) token features.
            noise: (B, G, C, h, w) standard normal.
            steps: sampler steps.

        Raises:
            ValueError: more than ``CONTEXT_WINDOW`` frames.
        """
        past, new = context.shape[1], noise.shape[1]
        if past + new > CONTEXT_WINDOW:
            raise ValueError(
                f"{past} context and {new} new frames exceed the context window of {CONTEXT_WINDOW}; "
                "generate fewer frames in one pass"
            )
        clean = torch.zeros(past + new, device=noise.device)
        clean[:past] = 1.0
        clean = clean.expand(len(noise), -1)
        given = (1.0 - clean) if actions is not None else torch.zeros_like(clean)
        padded = noise.new_zeros(len(noise), past + new, self.action_dim)
        if actions is not None:
            padded[:, past:] = actions

        def network(latents: Tensor, timestep: Tensor) -> Tensor:
            frames = torch.cat([context, latents], dim=1)
            return self.unet.denoise(frames, clean, padded, given, timestep, text)[:, past:]

        return sample(self.scheduler, network, noise, steps)

    def __call__(
        self,
        frames: np.ndarray,
        prompt: Sequence[str],
        num_frames: int,
        actions: Tensor | None = None,
        num_inference_steps: int = 1,
        seed: int = 0,
    ) -> np.ndarray:
        """Continue B videos: frames (B, P, H, W, 3) uint8 and a prompt each -> (B, num_frames, H, W, 3) uint8.

        ``actions`` (B, num_frames, A), or None. A transformer makes frame by frame, a UNet all in one pass.
        """
        context = self.encode(frames)
        tokens, pooled = self.embed(prompt)
        seeds = seed + torch.arange(len(context), device=context.device)
        if self.transformer is None:
            drawn = normal(seeds, torch.zeros_like(seeds), (num_frames, *context.shape[2:]))
            return self.decode(self.generate(context, actions, tokens, drawn, num_inference_steps))
        from sfvgen_plan.imagination import Imaginer

        imaginer = Imaginer(self.transformer, num_inference_steps)
        state = imaginer.begun(context, pooled, torch.zeros_like(seeds), seeds)
        if actions is None:
            return self.decode(imaginer.dreamt(state, num_frames)[1])
        video = imaginer.imagine(state, actions)[1].latents
        assert video is not None, "a transformer always tells them"
        return self.decode(video)


def apart(images: Tensor, count: int) -> Tensor:
    """(B, C, K H, W) -> (B K, C, H, W): ``count`` pictures that lie one above the other, each by itself."""
    return images.unflatten(2, (count, -1)).movedim(2, 1).flatten(0, 1)


def stacked(images: Tensor, count: int) -> Tensor:
    """(B K, C, H, W) -> (B, C, K H, W): the reverse of ``apart``."""
    return images.unflatten(0, (-1, count)).movedim(1, 2).flatten(2, 3)


def encode_text(tokenizer: CLIPTokenizer, encoder: CLIPTextModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token features (B, L, E), padded to the longest, and pooled features (B, E)."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(encoder.device)
    output = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
    return output.last_hidden_state * tokens.attention_mask[..., None], output.pooler_output
