"""The denoiser Φ: a 3D UNet that sees which frames are clean and which action leads into each frame."""

from __future__ import annotations

import torch
from diffusers import ModelMixin, UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

# diffusers looks ModelMixin up here to load a VideoUNet
__all__ = ["ModelMixin", "VideoUNet"]

SUMMED = 4.0  # sums of actions are divided by this: about unit variance over a usual chunk of 8 decisions


class VideoUNet(UNet3DConditionModel):
    """``UNet3DConditionModel`` whose input convolution has further channels for the condition of every frame.

    Input channels per frame: C latent channels, 1 clean-frame mask, A = ``action_dim`` action numbers, 1 flag that says
    whether the action is given (a dropped action is not the same as the action zero), A sums of the actions given so
    far, C latent channels of the last clean frame. The further channels' weights are what ``inflate`` adds to a
    pre-trained text-to-video UNet, initialised with zeros.

    Masked conditional video diffusion: SlowFast-VGen, section 3.2. The sums and the last clean frame are ours: without
    them the temporal layers spend their few weights on adding up actions and on carrying the scene to every frame.
    """

    # The parent's own arguments that follow from ours stay out of config.json.
    ignore_for_config = [  # noqa: RUF012
        "in_channels",
        "out_channels",
        "downsample_padding",
        "mid_block_scale_factor",
        "act_fn",
        "norm_eps",
        "num_attention_heads",
        "time_cond_proj_dim",
    ]

    @register_to_config
    def __init__(
        self,
        sample_size: int | None = None,
        latent_channels: int = 4,
        action_dim: int = 4,
        down_block_types: tuple[str, ...] = (
            "CrossAttnDownBlock3D",
            "CrossAttnDownBlock3D",
            "CrossAttnDownBlock3D",
            "DownBlock3D",
        ),
        up_block_types: tuple[str, ...] = (
            "UpBlock3D",
            "CrossAttnUpBlock3D",
            "CrossAttnUpBlock3D",
            "CrossAttnUpBlock3D",
        ),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
    ) -> None:
        super().__init__(
            sample_size=sample_size,
            in_channels=2 * latent_channels + 2 * action_dim + 2,
            out_channels=latent_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
        )
        for module in self.modules():
            if isinstance(module, nn.Dropout):  # the dynamics are nearly deterministic: dropout only blurs them
                module.p = 0.0

    def denoise(
        self, latents: Tensor, clean: Tensor, actions: Tensor, given: Tensor, timestep: Tensor, text: Tensor
    ) -> Tensor:
        """Raw network output for every frame.

        Args:
            latents: (B, T, C, h, w), noisy frames already scaled as the scheduler wants them, clean frames as they are.
            clean: (B, T) 1 where the frame is a clean context frame.
            actions: (B, T, A) action that leads into the frame, in [-1, 1].
            given: (B, T) 1 where that action is known.
            timestep: (B,) in the scheduler's unit.
            text: (B, L, E) token features; zeros where the text is dropped.

        Returns:
            (B, T, C, h, w).
        """
        frames, _, h, w = latents.shape[1:]
        known = actions * given[..., None]
        condition = torch.cat([clean[..., None], known, given[..., None], known.cumsum(1) / SUMMED], dim=-1)
        condition = condition.to(latents.dtype)[..., None, None].expand(-1, -1, -1, h, w)
        last = (clean * torch.arange(1, frames + 1, device=clean.device)).argmax(1)
        anchor = latents[torch.arange(len(latents), device=latents.device), last, None]
        anchor = anchor * clean.amax(1).to(latents.dtype).view(-1, 1, 1, 1, 1)  # zeros where no frame is clean
        sample = torch.cat([latents, condition, anchor.expand_as(latents)], dim=2).transpose(1, 2)
        return self(sample, timestep, text, return_dict=False)[0].transpose(1, 2)

    @classmethod
    def inflate(cls, unet: UNet3DConditionModel, action_dim: int) -> VideoUNet:
        """A ``VideoUNet`` with the weights of a pre-trained text-to-video UNet.

        The further input channels start at zero, so that the first outputs equal the original's.
        """
        old = unet.config
        new = cls(
            sample_size=old.sample_size,
            latent_channels=old.out_channels,
            action_dim=action_dim,
            down_block_types=tuple(old.down_block_types),
            up_block_types=tuple(old.up_block_types),
            block_out_channels=tuple(old.block_out_channels),
            layers_per_block=old.layers_per_block,
            norm_num_groups=old.norm_num_groups,
            cross_attention_dim=old.cross_attention_dim,
            attention_head_dim=old.attention_head_dim,
        )
        nn.Module.to(new, unet.dtype)  # diffusers' own warns of modules to keep in float32 where there are none
        weights = dict(unet.state_dict())
        weight = weights["conv_in.weight"]
        wide = torch.zeros_like(new.conv_in.weight)
        wide[:, : weight.shape[1]] = weight
        weights["conv_in.weight"] = wide
        new.load_state_dict(weights)
        return new
