"""A block of the video transformer, and rotary positions of frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Layer, unit


class Block(nn.Module):
    """Attention and a perceptron, scaled, shifted and gated by the frame's condition (adaLN; Peebles and Xie 2023)."""

    memory: Layer | None

    def __init__(self, width: int, heads: int, conditioning: int, memory: Layer | None = None) -> None:
        super().__init__()
        self.heads, self.memory = heads, memory
        parts = 6 if memory is None else 9
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(conditioning, parts * width)
        nn.init.normal_(self.modulation.weight, std=0.01)
        with torch.no_grad():  # gates begin at 0.3, so that frames hear each other from the first step on
            self.modulation.bias.zero_().view(parts, width)[2::3] = 0.3

    def forward(
        self,
        tokens: Tensor,
        condition: Tensor,
        turn: tuple[Tensor, Tensor],
        attend: Callable[[Tensor, Tensor, Tensor], Tensor],
        remember: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """tokens (B, F, S, D), condition (B, F, c), turn: cosines and sines (B or 1, F, 1, 1, d/4).

        Args:
            attend: query, key and value (B, H, F * S, d) -> what is heard, of the query's shape.
            remember: what the memory gives for tokens (B, F, S, D); where the block has one.
        """
        batch, frames, count, width = tokens.shape
        shift, scale, gate, shift_2, scale_2, gate_2, *rest = self.modulation(condition)[:, :, None].split(width, -1)
        normed = F.layer_norm(tokens, (width,)) * (1 + scale) + shift
        shape = (batch, frames, count, self.heads, width // self.heads)
        query = rotated(unit(self.to_q(normed).view(shape)), turn)
        key = rotated(unit(self.to_k(normed).view(shape)), turn)
        value = self.to_v(normed).view(shape)
        query, key, value = (x.to(value.dtype).flatten(1, 2).transpose(1, 2) for x in (query, key, value))
        heard = attend(query, key, value)
        tokens = tokens + gate * self.to_out(heard.transpose(1, 2).reshape(tokens.shape))
        if remember is not None:
            shift, scale, gate = rest
            normed = (F.layer_norm(tokens, (width,)) * (1 + scale) + shift).to(value.dtype)
            tokens = tokens + gate * remember(normed)
        normed = F.layer_norm(tokens, (width,)) * (1 + scale_2) + shift_2
        return tokens + gate_2 * self.down(F.gelu(self.up(normed), approximate="tanh"))


def turns(number: Tensor, turned: int) -> tuple[Tensor, Tensor]:
    """Rotary positions (Su et al. 2021) of frames (B, F): cosines and sines (B, F, 1, 1, turned / 2)."""
    periods = torch.logspace(math.log10(4), math.log10(64), turned // 2, device=number.device)
    angle = number.float()[..., None, None, None] * (2 * math.pi / periods)
    return angle.cos(), angle.sin()


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x (B, F, S, H, d) with its first half turned by the frame's number."""
    cos, sin = turn
    pairs = cos.shape[-1]
    a, b, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)
