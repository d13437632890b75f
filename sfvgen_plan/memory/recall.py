"""Recall: attention to frames that left the window. Shapes: see ``memory.layers``; C frames that there is room for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Address, Bank, unit

ROOM = 80  # C, frames: as many as 4 MB hold of an episode in three layers of half precision
ALIKE = 0.9  # mean cosine of two frames' keys from which on both show one place
NEVER = 2**62  # number of a frame that is not there


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
        """Nothing remembered yet, of one layer; behind the room for frames stands what is heard where nothing fits."""
        half = torch.is_autocast_enabled(self.gain.device.type)
        kind = torch.get_autocast_dtype(self.gain.device.type) if half else self.gain.dtype
        none = self._nothing().detach().to(kind)
        room = F.pad(none, (0, 0, ROOM * self.tokens, -none.shape[1] % self.tokens)).unflatten(1, (-1, self.tokens))
        keys, values = room[:, None, None].repeat(1, episodes, 1, 1, 1, 1)
        number = torch.full((episodes, 1, ROOM), NEVER, device=none.device)
        return Bank(keys, values, number, torch.zeros_like(number[..., 0]))

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """See ``Layer``."""
        frames = real.shape[1]
        written, found = self.address.written_and_asked(tokens, place, frames)
        stored = self._stored(written, tokens[:, :frames])
        keys, values = (
            torch.cat([x.flatten(1, 2), none.to(x.dtype).expand(len(x), -1, -1)], 1)
            for x, none in zip(stored, self._nothing(), strict=True)
        )
        at = torch.arange(frames, device=real.device)
        left = (at[:, None] - at > self.window).repeat(2, 1) & (real > 0)[:, None]
        return self._heard(found, keys, values, left.repeat_interleave(self.tokens, 1))

    def read(self, memory: Bank, tokens: Tensor, place: Tensor) -> Tensor:
        """See ``Layer``."""
        left = (memory.number < memory.count[..., None] - self.window).expand(-1, tokens.shape[1] * self.tokens, -1)
        length = ROOM * self.tokens + self.nothing.shape[2]
        keys, values = (x[:, 0].flatten(1, 2)[:, :length] for x in (memory.keys, memory.values))
        return self._heard(self.address(tokens, place, asking=True), keys, values, left)

    def write(self, memory: Bank, tokens: Tensor, place: Tensor, imagined: Tensor) -> Bank:
        """See ``Layer``."""
        key, value = self._stored(self.address(tokens, place), tokens)  # (N, 1, S, D)
        there = memory.number < NEVER
        product = memory.keys[:, 0, :ROOM].flatten(2) @ key.to(memory.keys.dtype).flatten(1)[..., None]  # (N, C, 1)
        alike, nearest = (product.transpose(1, 2) / key[0].numel()).where(there, -2.0).max(2)
        filled = there.sum(2)
        slot = filled.where(filled < ROOM, nearest)  # (N, 1)
        kept = imagined & ((alike > ALIKE) | (filled == ROOM))

        def put(old: Tensor, new: Tensor) -> Tensor:
            lead = (-1, 1, 1, *[1] * (old.ndim - 3))
            index = slot.view(lead).expand_as(old[:, :, :1])
            return old.scatter(2, index, old.gather(2, index).where(kept.view(lead), new[:, None].to(old.dtype)))

        number = put(memory.number, memory.count)
        return Bank(put(memory.keys, key), put(memory.values, value), number, memory.count + 1)

    def learn(self, memory: Bank) -> Bank:
        """Nothing is learnt: all is kept."""
        return memory

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, D) -> (B, H, n, v)."""
        return x.unflatten(-1, (self.heads, self.size)).transpose(1, 2)

    def _nothing(self) -> Tensor:
        """Keys and values (2, n, D)."""
        keys, values = self.nothing.transpose(1, 2)
        return torch.stack([unit(keys), values]).flatten(2)

    def _stored(self, found: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, F, S, D) of clean frames."""
        value = self.value(tokens)
        return unit(self.key(found).unflatten(-1, (self.heads, self.size))).flatten(-2).to(value.dtype), value

    def _heard(self, found: Tensor, keys: Tensor, values: Tensor, left: Tensor) -> Tensor:
        """found (B, F, S, K), keys and values (B, n, D) of frames and of nothing, and which of the frames each token
        hears, left (B, F * S, frames) -> (B, F, S, D)."""
        query = (unit(self._split(self.query(found).flatten(1, 2))) * self.gain).to(keys.dtype)
        seen = F.pad(left.repeat_interleave(self.tokens, 2), (0, self.nothing.shape[2]), value=True)
        heard = F.scaled_dot_product_attention(query, self._split(keys), self._split(values), seen[:, None])
        return self.out(self.slow(found) + heard.transpose(1, 2).reshape(*found.shape[:3], -1).to(found.dtype))
