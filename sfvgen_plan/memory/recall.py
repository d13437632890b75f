"""Recall: attention to frames that left the window. Shapes: see ``memory.layers``; C frames that there is room for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Address, unit
from sfvgen_plan.memory.state import Bank

ROOM = 80
"""C, frames: as many as 4 MB hold of an episode in three layers of half precision."""

ALIKE = 0.9
"""Mean cosine of two frames' keys from which on both show one place."""

NEVER = 2**62
"""Number of a frame that is not there."""


class Recall(nn.Module):
    """Attention to the keys and values of frames that left the window, found by their addresses: the upper bound of
    what a Temp-LoRA can recall, at 4 S D bytes a frame in half precision.

    Real frames are all written; when there is no more room, in the place of the one that is most alike. Imagined ones
    are written where there is room and nothing alike, so that dreaming wears nothing away.

    Args:
        dim: D. places: M. tokens: S. beginning: see ``memory.layers``. features: K. heads: H.
        window: W, frames that the network still sees; younger ones than that are not recalled.
    """

    def __init__(
        self,
        dim: int,
        places: int,
        tokens: int,
        window: int,
        beginning: bool = False,
        features: int = 256,
        heads: int = 8,
        empty: int = 8,
    ) -> None:
        super().__init__()
        self.heads, self.size, self.window, self.tokens = heads, dim // heads, window, tokens
        self.address = Address(dim, places, tokens, features, beginning)
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
        none = self.gain.new_zeros(episodes, 1, ROOM, self.tokens, self.heads * self.size, dtype=kind)
        number = torch.full((episodes, 1, ROOM), NEVER, device=none.device)
        return Bank(none, none, number, torch.zeros_like(number[..., 0]))

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """See ``Layer``."""
        frames = real.shape[1]
        found = self.address(tokens, place, asking=True)
        written = self.address(tokens[:, :frames], place[:, :frames]) if self.address.beginning else found[:, :frames]
        keys, values = (self._split(x) for x in self._stored(written, tokens[:, :frames]))
        at = torch.arange(frames, device=real.device)
        left = (at[:, None] - at > self.window).repeat(2, 1) & (real > 0)[:, None]
        seen = left.repeat_interleave(self.tokens, 1).repeat_interleave(self.tokens, 2)
        return self._heard(found, keys, values, seen[:, None])

    def read(self, memory: Bank, tokens: Tensor, place: Tensor) -> Tensor:
        """See ``Layer``."""
        left = (memory.number < memory.count[..., None] - self.window).repeat_interleave(self.tokens, 2)
        seen = left[:, None].expand(-1, -1, tokens.shape[1] * self.tokens, -1)
        keys, values = (self._split(x[:, 0]) for x in (memory.keys, memory.values))
        return self._heard(self.address(tokens, place, asking=True), keys, values, seen)

    def write(self, memory: Bank, tokens: Tensor, place: Tensor, imagined: Tensor) -> Bank:
        """See ``Layer``."""
        new = self._stored(self.address(tokens, place), tokens)
        there = memory.number < NEVER
        cosine = memory.keys[:, 0].flatten(2) @ new[0].to(memory.keys.dtype).flatten(1)[..., None]  # (N, C, 1)
        alike, nearest = (cosine[..., 0] / new[0][0].numel()).where(there[:, 0], -2.0).max(1)
        filled = there.sum(2)  # (N, 1)
        slot = filled.where(filled < ROOM, nearest[:, None])
        kept = imagined & ((alike[:, None] > ALIKE) | (filled == ROOM))

        def put(old: Tensor, x: Tensor) -> Tensor:
            index = slot.view(-1, *[1] * (old.ndim - 1)).expand_as(old[:, :, :1])
            there = old.gather(2, index)
            return old.scatter(2, index, there.where(kept.view(-1, *[1] * (old.ndim - 1)), x.to(old.dtype)))

        number = put(memory.number, memory.count[..., None])
        return Bank(put(memory.keys, new[0][:, None]), put(memory.values, new[1][:, None]), number, memory.count + 1)

    def learn(self, memory: Bank) -> Bank:
        """Nothing is learnt: all is kept."""
        return memory

    def _split(self, x: Tensor) -> Tensor:
        """(B, F, S, D) -> (B, H, F * S, v)."""
        return x.flatten(1, 2).unflatten(-1, (self.heads, self.size)).transpose(1, 2)

    def _stored(self, found: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, F, S, D) of clean frames."""
        value = self.value(tokens)
        key = self.key(found).unflatten(-1, (self.heads, self.size))
        return unit(key).flatten(-2).to(value.dtype), value

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
