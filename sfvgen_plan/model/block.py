"""A block of the video transformer, and rotary positions of frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Layer


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
        query, key, value, modulation = self.before(tokens, condition, *turn)
        heard = attend(query, key, value)
        if remember is None:
            return self.after(tokens, heard, modulation)
        tokens, asking = self.asking(tokens, heard, modulation)
        return self.answered(tokens, remember(asking), modulation)

    def before(
        self, tokens: Tensor, condition: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query, key and value (B, H, F * S, d), and the modulation (B, F, 1, parts * D) of what follows."""
        batch, frames, count, width = tokens.shape
        modulation = self.modulation(condition)[:, :, None]
        shift, scale = modulation[..., : 2 * width].chunk(2, -1)
        normed = F.layer_norm(tokens, (width,)) * (1 + scale) + shift
        shape = (batch, frames, count, self.heads, width // self.heads)
        query, key, value = (project(normed).view(shape) for project in (self.to_q, self.to_k, self.to_v))
        # Of unit length, so that attention's scores stay in range.
        query, key = (rotated(F.rms_norm(x, shape[-1:]), (cos, sin)) for x in (query, key))
        query, key, value = (x.to(value.dtype).flatten(1, 2).transpose(1, 2) for x in (query, key, value))
        return query, key, value, modulation

    def after(self, tokens: Tensor, heard: Tensor, modulation: Tensor) -> Tensor:
        """The tokens after what was heard (B, H, F * S, d), and the perceptron."""
        return self._perceptron(self._attended(tokens, heard, modulation), modulation)

    def asking(self, tokens: Tensor, heard: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens after what was heard, and what the memory is asked with (B, F, S, D)."""
        width = tokens.shape[-1]
        tokens = self._attended(tokens, heard, modulation)
        shift, scale = modulation[..., 6 * width : 8 * width].chunk(2, -1)
        return tokens, (F.layer_norm(tokens, (width,)) * (1 + scale) + shift).to(heard.dtype)

    def answered(self, tokens: Tensor, read: Tensor, modulation: Tensor) -> Tensor:
        """The tokens after what the memory gave, and the perceptron."""
        tokens = tokens + modulation[..., 8 * tokens.shape[-1] :] * read
        return self._perceptron(tokens, modulation)

    def compile_parts(self) -> None:
        """Compile what lies between attentions and the memory."""
        for name in ("before", "after", "asking", "answered"):
            setattr(self, name, torch.compile(getattr(type(self), name).__get__(self)))

    def _attended(self, tokens: Tensor, heard: Tensor, modulation: Tensor) -> Tensor:
        width = tokens.shape[-1]
        gate = modulation[..., 2 * width : 3 * width]
        return tokens + gate * self.to_out(heard.transpose(1, 2).reshape(tokens.shape))

    def _perceptron(self, tokens: Tensor, modulation: Tensor) -> Tensor:
        width = tokens.shape[-1]
        shift, scale, gate = modulation[..., 3 * width : 6 * width].chunk(3, -1)
        normed = F.layer_norm(tokens, (width,)) * (1 + scale) + shift
        return tokens + gate * self.down(F.gelu(self.up(normed), approximate="tanh"))


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
