"""What left the window of cached frames, found again by where it was: memory layers of the video transformer.

Everything that is stored and asked for has an address: the place (the sum of the actions since the episode began), the
token's place in the picture, and a little of what the token shows. Clean frames are written as they are looked at;
every frame, clean or noisy, reads. In training whole episodes pass at once, and gradients flow through the writing (the
slow-fast loop, SlowFast-VGen, algorithm 1b, with the gradient that the paper leaves out).

Shapes: B or N episodes, F frames, S tokens a frame, D numbers a token, M numbers of a place, K features of an address,
H heads of rank r that store values of v numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 8
"""Decisions after which fast learning takes its steps: what is read changes then."""


class Address(nn.Module):
    """Random Fourier features of a place, a token and its content: near-orthogonal before any training, and the same
    for writing and reading, so that a place is recalled from the first step on."""

    def __init__(self, dim: int, places: int, tokens: int, features: int, waves: float = 1.5) -> None:
        super().__init__()
        scale = torch.exp(torch.rand(features, 1) * math.log(8)) * 0.5 * waves  # from wide waves to narrow ones
        self.omega = nn.Parameter(torch.randn(features, places) * scale)
        self.theta = nn.Parameter(torch.rand(tokens, features) * 2 * math.pi)
        self.content = nn.Linear(dim, features, bias=False)
        nn.init.normal_(self.content.weight, std=0.1 / math.sqrt(dim))

    def forward(self, tokens: Tensor, place: Tensor) -> Tensor:
        """tokens (B, F, S, D), place (B, F, M) -> (B, F, S, K) of unit variance."""
        with torch.autocast(tokens.device.type, enabled=False):  # phases grow large
            phase = (place.float()[..., None, :] * self.omega.float()).sum(-1)[..., None, :] + self.theta.float()
        return (math.sqrt(2) * (phase + self.content(tokens)).sin()).to(tokens.dtype)


@dataclass(frozen=True)
class Memory:
    """What N episodes remember in L memory layers: tensors that lead with (N, L). A value, never changed in place."""

    def layers(self) -> list[Self]:
        """Those of one layer each."""
        parts = (part.split(1, 1) for part in self._parts())
        return [type(self)(*layer) for layer in zip(*parts, strict=True)]

    @classmethod
    def of_layers(cls, layers: Sequence[Memory]) -> Memory:
        """The same, of several layers."""
        parts = zip(*(layer._parts() for layer in layers), strict=True)
        return type(layers[0])(*(torch.cat(part, 1) for part in parts))

    def select(self, index: Tensor) -> Self:
        """The episodes named by ``index``."""
        return type(self)(*(part[index] for part in self._parts()))

    def replaced(self, index: Tensor, part: Self) -> Self:
        """The same, but the episodes that ``index`` names are those of ``part``."""
        pairs = zip(self._parts(), part._parts(), strict=True)
        return type(self)(*(old.index_copy(0, index, new) for old, new in pairs))

    def where(self, chosen: Tensor, other: Self) -> Self:
        """This one in the episodes that are ``chosen`` (N,), the other one elsewhere."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return type(self)(*(torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x, y) for x, y in pairs))

    def _parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Lora(Memory):
    """The fast weights ``B`` of a Temp-LoRA, and the two sums that its loss is made of.

    Attributes:
        fast: (N, L, H, r, v) what is read.
        gram: (N, L, H, r, r) sum of β φ φᵀ over the frames so far.
        cross: (N, L, H, r, v) sum of β φ vᵀ.
    """

    fast: Tensor
    gram: Tensor
    cross: Tensor


@dataclass(frozen=True)
class Bank(Memory):
    """Keys and values of all frames so far, oldest first; those of younger episodes have padding before them.

    Attributes:
        keys, values: (N, L, H, M * S, v) of M frames.
        count: (N, L) int64, frames of the episode.
    """

    keys: Tensor
    values: Tensor
    count: Tensor

    def replaced(self, index: Tensor, part: Bank) -> Bank:
        """The same, but the episodes that ``index`` names are those of ``part``."""
        length = max(self.keys.shape[3], part.keys.shape[3])
        return super(Bank, self._padded(length)).replaced(index, part._padded(length))

    def _padded(self, length: int) -> Bank:
        room = (0, 0, length - self.keys.shape[3], 0)
        return Bank(F.pad(self.keys, room), F.pad(self.values, room), self.count)


class Layer(Protocol):
    """A memory layer: what every kind of it can do."""

    def empty(self, episodes: int) -> Any:
        """Nothing remembered yet, as a ``Memory`` of one layer."""

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """What 2 F frames (B, 2 F, S, D) read, clean copies first, of what the clean frames wrote before them. place
        (B, 2 F, M); real (B, F) says which frames exist."""

    def read(self, memory: Any, tokens: Tensor, place: Tensor) -> Tensor:
        """What frames (N, F, S, D) read."""

    def write(self, memory: Any, tokens: Tensor, place: Tensor) -> Any:
        """The memory after a clean frame (N, 1, S, D)."""

    def learn(self, memory: Any) -> Any:
        """The memory after fast learning at the end of a chunk; itself where there is none."""


class TempLora(nn.Module):
    """A linear layer of the address, ``W u``, beside which an episode has a LoRA ``B A u``: ``A`` slow and shared,
    ``B`` fast and of the episode.

    ``B`` is written by a few gradient steps of ½ Σ β |B A u - v|² over all frames of the episode, of which only two
    sums are kept. Each head learns the tokens of one group first: heads that learn the same ones disturb each other.

    Args:
        dim: D. places: M. tokens: S. number: of this layer among the memory layers.
        features: K. heads: H. rank: r, of each head. groups: of tokens. steps: gradient steps a chunk.
    """

    def __init__(
        self,
        dim: int,
        places: int,
        tokens: int,
        number: int = 0,
        features: int = 256,
        heads: int = 4,
        rank: int = 128,
        groups: int = 4,
        steps: int = 4,
    ) -> None:
        super().__init__()
        self.heads, self.rank, self.steps, self.size = heads, rank, steps, dim // heads
        self.address = Address(dim, places, tokens, features)
        self.slow = nn.Linear(features, dim)
        nn.init.normal_(self.slow.weight, std=0.1 / math.sqrt(features))
        self.down = nn.Parameter(torch.randn(heads * rank, features) / math.sqrt(features))
        self.value, self.strength = nn.Linear(dim, dim), nn.Linear(dim, heads)
        self.out = nn.Linear(dim, dim)
        own = torch.arange(tokens)[:, None] % groups == (number * heads + torch.arange(heads)) % groups
        self.own = nn.Parameter(torch.where(own, 3.0, -5.0))  # (S, H): whose tokens a head learns and is asked for
        self.least = nn.Parameter(torch.full((heads,), -3.0))  # the smallest eigenvalue that steps are made for
        self.forget = nn.Parameter(torch.full((heads,), -6.0))

    def empty(self, episodes: int) -> Lora:
        """Nothing learnt yet; one layer (L = 1)."""
        none = self.down.new_zeros(episodes, 1, self.heads, self.rank, self.rank, dtype=torch.float32)
        fast = self.down.new_zeros(episodes, 1, self.heads, self.rank, self.size, dtype=torch.float32)
        return Lora(fast, none, fast)

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """What 2 F frames (B, 2 F, S, D) read, clean copies first: each what the clean frames of earlier chunks wrote.
        place (B, 2 F, M); real (B, F) says which frames exist."""
        frames = real.shape[1]
        chunks = -(-frames // CHUNK)
        found = self.address(tokens, place)
        gram, cross = self._sums(found[:, :frames], tokens[:, :frames], real, CHUNK)
        fast, states = torch.zeros_like(cross[:, 0]), []
        with torch.autocast(tokens.device.type, enabled=False):
            keep = 1 - self.forget.float().sigmoid()[:, None, None]
            total, crossed = torch.zeros_like(gram[:, 0]), torch.zeros_like(fast)
            grams, crosses = [], []
            for chunk in range(chunks - 1):
                total, crossed = keep * total + gram[:, chunk], keep * crossed + cross[:, chunk]
                grams.append(total)
                crosses.append(crossed)
            states = [fast]
            if grams:
                shrink, added = self._descent(torch.stack(grams, 1), torch.stack(crosses, 1))
                for chunk in range(chunks - 1):
                    states.append(states[-1] + shrink[:, chunk] @ states[-1] + added[:, chunk])
        of_frame = torch.stack(states, 1).repeat_interleave(CHUNK, 1)[:, :frames]
        return self._read(found, torch.cat([of_frame, of_frame], 1))

    def write(self, memory: Lora, tokens: Tensor, place: Tensor) -> Lora:
        """The memory with a clean frame (N, 1, S, D) among its sums; what is read stays until ``learn``."""
        real = tokens.new_ones(tokens.shape[:2], dtype=torch.float32)
        gram, cross = self._sums(self.address(tokens, place), tokens, real, 1)
        return replace(memory, gram=memory.gram + gram, cross=memory.cross + cross)

    def learn(self, memory: Lora) -> Lora:
        """Fast learning at the end of a chunk."""
        with torch.autocast(memory.fast.device.type, enabled=False):
            shrink, added = self._descent(memory.gram, memory.cross)
            keep = 1 - self.forget.float().sigmoid()[:, None, None]
            fast = memory.fast + shrink @ memory.fast + added
            return Lora(fast, keep * memory.gram, keep * memory.cross)

    def read(self, memory: Lora, tokens: Tensor, place: Tensor) -> Tensor:
        """What frames (N, F, S, D) read."""
        return self._read(self.address(tokens, place), memory.fast.expand(-1, tokens.shape[1], -1, -1, -1))

    def _low(self, found: Tensor) -> Tensor:
        """φ = A u, gated by whose tokens a head learns: (B, F, S, K) -> (B, F, H, S, r)."""
        low = (found @ self.down.t().to(found.dtype)).unflatten(-1, (self.heads, self.rank))
        return (low * self.own.sigmoid()[..., None].to(low.dtype)).transpose(2, 3)

    def _read(self, found: Tensor, fast: Tensor) -> Tensor:
        """found (B, F, S, K), fast (B, F, H, r, v) -> (B, F, S, D)."""
        low = self._low(found)
        recalled = (low @ fast.to(low.dtype)).transpose(2, 3).flatten(-2)
        return self.out(self.slow(found) + recalled)

    def _sums(self, found: Tensor, tokens: Tensor, real: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """β φ φᵀ and β φ vᵀ of clean frames (B, F, ...), summed over chunks: (B, chunks, H, r, r), (..., r, v)."""
        frames = real.shape[1]
        chunks = -(-frames // length)
        low = self._low(found).float()
        value = self.value(tokens).float().unflatten(-1, (self.heads, self.size)).transpose(2, 3)
        weight = (self.strength(tokens).float() + self.own).sigmoid() * real[..., None, None]
        weighted = low * weight.transpose(2, 3)[..., None]
        missing = chunks * length - frames
        low, value, weighted = (
            F.pad(x, (0, 0) * 3 + (0, missing)).unflatten(1, (chunks, length)).transpose(2, 3).flatten(3, 4)
            for x in (low, value, weighted)
        )  # (B, chunks, H, length * S, ...)
        with torch.autocast(found.device.type, enabled=False):
            return weighted.transpose(-1, -2) @ low, weighted.transpose(-1, -2) @ value

    def _descent(self, gram: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
        """(..., H, r, r) and (..., H, r, v): ``steps`` gradient steps make B into B + M B + N. Their sizes are
        Chebyshev's for eigenvalues between ``least`` and 1 times the largest, stable whatever ``least`` is."""
        with torch.no_grad():  # the 8-norm of the eigenvalues is no less than the largest
            size = gram.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-6)[..., None, None]
            power = gram / size
            power = power @ power
            power = power @ power
            size = size * power.square().sum((-1, -2), keepdim=True).clamp_min(1e-30) ** 0.125
            size = size.clamp_min(1e-3)
        least, eye = self.least.float().sigmoid()[:, None, None], torch.eye(self.rank, device=gram.device)
        inverse: Tensor | None = None
        for step in range(self.steps):
            root = math.cos(math.pi * (2 * step + 1) / (2 * self.steps))
            rate = 2 / ((1 + least) + (1 - least) * root) / size
            inverse = rate * eye if inverse is None else inverse + rate * (eye - gram @ inverse)
        assert inverse is not None
        return -inverse @ gram, inverse @ cross


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


def unit(x: Tensor) -> Tensor:
    """Divided by its root mean square over the last axis: keeps attention's scores in range."""
    return F.rms_norm(x, x.shape[-1:])
