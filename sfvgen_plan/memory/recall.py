"""Recall: attention to all frames that left the window. Shapes: see ``memory.layers``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Address, unit
from sfvgen_plan.memory.state import Bank


class Recall(nn.Module):
    """Attention to the keys and values of all frames that left the window, found by their addresses: the memory that
    grows, by 4 S D bytes a frame in half precision, and the upper bound of what a Temp-LoRA can recall.

    Args:
        dim: D. places: M. tokens: S. features: K. heads: H.
        window: W, frames that the network still sees; younger ones than that are not recalled.
    """

    def __init__(
        self, dim: int, places: int, tokens: int, window: int, features: int = 256, heads: int = 8, empty: int = 8
    ) -> None:
        super().__init__()
        self.heads, self.size, self.window, self.tokens = heads, dim // heads, window, tokens
        self.address = Address(dim, places, tokens, features)
        self.slow, self.query, self.key = nn.Linear(features, dim), nn.Linear(features, dim), nn.Linear(features, dim)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        with torch.no_grad():  # who asks where something was written finds it before any training
            self.key.load_state_dict(self.query.state_dict())
        self.gain = nn.Parameter(torch.full((heads, 1, 1), 3.0))
        self.nothing = nn.Parameter(torch.randn(2, heads, empty, self.size) * 0.02)  # to be heard where nothing fits

    def empty(self, episodes: int) -> Bank:
        """Nothing remembered yet, of one layer."""
        half = torch.is_autocast_enabled(self.gain.device.type)
        kind = torch.get_autocast_dtype(self.gain.device.type) if half else self.gain.dtype
        none = self.gain.new_zeros(episodes, 1, self.heads, 0, self.size, dtype=kind)
        return Bank(none, none, torch.zeros(episodes, 1, dtype=torch.int64, device=none.device))

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """See ``Layer``."""
        frames = real.shape[1]
        found = self.address(tokens, place)
        keys, values = self._stored(found[:, :frames], tokens[:, :frames])
        at = torch.arange(frames, device=real.device)
        left = (at[:, None] - at > self.window).repeat(2, 1) & (real > 0)[:, None]
        seen = left.repeat_interleave(self.tokens, 1).repeat_interleave(self.tokens, 2)
        return self._heard(found, keys, values, seen[:, None])

    def read(self, memory: Bank, tokens: Tensor, place: Tensor) -> Tensor:
        """See ``Layer``."""
        frames = memory.keys.shape[3] // self.tokens
        left = max(0, frames - self.window)
        real = torch.arange(left, device=memory.count.device) >= frames - memory.count
        seen = real.repeat_interleave(self.tokens, 1)[:, None, None].expand(-1, -1, tokens.shape[1] * self.tokens, -1)
        keys, values = (x[:, 0, :, : left * self.tokens] for x in (memory.keys, memory.values))
        return self._heard(self.address(tokens, place), keys, values, seen)

    def write(self, memory: Bank, tokens: Tensor, place: Tensor) -> Bank:
        """See ``Layer``."""
        new = self._stored(self.address(tokens, place), tokens)
        keys, values = (
            torch.cat([old, x[:, None].to(old.dtype)], 3)
            for old, x in zip((memory.keys, memory.values), new, strict=True)
        )
        return Bank(keys, values, memory.count + 1)

    def learn(self, memory: Bank) -> Bank:
        """Nothing is learnt: all is kept."""
        return memory

    def _split(self, x: Tensor) -> Tensor:
        """(B, F, S, D) -> (B, H, F * S, v)."""
        return x.flatten(1, 2).unflatten(-1, (self.heads, self.size)).transpose(1, 2)

    def _stored(self, found: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, F * S, v) of clean frames."""
        value = self._split(self.value(tokens))
        return unit(self._split(self.key(found))).to(value.dtype), value

    def _heard(self, found: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """found (B, F, S, K), keys and values (B, H, n, v), seen (B, 1, F * S, n) -> (B, F, S, D)."""
        query = (unit(self._split(self.query(found))) * self.gain).to(keys.dtype)
        none_key, none_value = (x.to(keys.dtype).expand(len(keys), -1, -1, -1) for x in self.nothing)
        mask = torch.cat([seen.new_ones(*seen.shape[:3], none_key.shape[2]), seen], 3)
        heard = F.scaled_dot_product_attention(
            query, torch.cat([unit(none_key), keys], 2), torch.cat([none_value, values], 2), mask
        )
        heard = heard.transpose(1, 2).flatten(-2).unflatten(1, found.shape[1:3])
        return self.out(self.slow(found) + heard.to(found.dtype))
