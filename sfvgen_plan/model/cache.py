"""Keys and values of clean frames: as a value, and as room to put new ones in.

Shapes: N episodes, L layers, H heads of d numbers, S tokens a frame, W frames that a frame sees beside itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sfvgen_plan.memory.state import Memory
from sfvgen_plan.memory.temp_lora import CHUNK


@dataclass(frozen=True)
class Cache:
    """Keys and values of the newest W + 1 clean frames of N episodes; a value, never changed in place.

    It is a ring: frame number n stands in slot n mod (W + 1). Attention does not mind the order, for every key carries
    the number of its frame.

    Attributes:
        keys, values: (N, L, H, (W + 1) * S, d) of the L layers' H heads.
        index: (N,) int64, how many frames were written since the episode began: the next frame's number.
        least, most: bounds of ``index`` over the episodes, known without asking the device.
        memory: what the episodes have learnt, or None for a network without memory layers.
    """

    keys: Tensor
    values: Tensor
    index: Tensor
    least: int
    most: int
    memory: Memory | None = None

    def __len__(self) -> int:
        return len(self.index)

    def select(self, index: Tensor) -> Cache:
        """The episodes named by ``index`` (M,), in that order."""
        memory = self.memory.select(index) if self.memory is not None else None
        return Cache(self.keys[index], self.values[index], self.index[index], self.least, self.most, memory)

    def replaced(self, index: Tensor, part: Cache) -> Cache:
        """The same episodes, but those that ``index`` names are the ones of ``part``."""
        memory = None
        if self.memory is not None and part.memory is not None:
            memory = self.memory.replaced(index, part.memory)
        return Cache(
            self.keys.index_copy(0, index, part.keys),
            self.values.index_copy(0, index, part.values),
            self.index.index_copy(0, index, part.index),
            min(self.least, part.least),
            max(self.most, part.most),
            memory,
        )

    @classmethod
    def join(cls, parts: Sequence[Cache]) -> Cache:
        """The episodes of all parts, in that order."""
        memories = [part.memory for part in parts if part.memory is not None]
        return cls(
            torch.cat([part.keys for part in parts]),
            torch.cat([part.values for part in parts]),
            torch.cat([part.index for part in parts]),
            min(part.least for part in parts),
            max(part.most for part in parts),
            memories[0].join(memories) if memories else None,
        )


class Slot(NamedTuple):
    """Where a new frame is put, and what it sees: its number (N,) for rotary positions, the places (N, 1, S, 1) of its
    tokens, how many keys there are at most, and which of them are seen (N, 1, 1, keys), None for all."""

    number: Tensor
    tokens: Tensor
    keys: int
    seen: Tensor | None


class Window:
    """Room for new frames in a copy of a cache, filled in place unless gradients are wanted.

    ``fixed``: in the cache's own tensors, and so that the same calls do for episodes of any age (while none is older
    than W frames, or while all are).
    """

    def __init__(self, cache: Cache, tokens: int, fixed: bool = False) -> None:
        self.tokens, self.slots = tokens, cache.keys.shape[-2] // tokens
        self.index, self.least, self.most, self.fixed = cache.index, cache.least, cache.most, fixed
        self.in_place = not torch.is_grad_enabled()
        copied = self.in_place and not fixed
        self.whole = tuple(kept.clone() if copied else kept for kept in (cache.keys, cache.values))
        self.layers = [list(kept.unbind(1)) for kept in self.whole]
        self.memory = cache.memory.layers() if cache.memory is not None else []

    def slot(self, frame: int) -> Slot:
        """Of the new frame number ``frame``, counted from the cache's end."""
        number = self.index + frame
        device = number.device
        places = (number % self.slots)[:, None] * self.tokens + torch.arange(self.tokens, device=device)
        filled = self.slots if self.fixed else min(self.slots, self.most + frame + 1)
        seen = None
        if self.least + frame + 1 < filled:  # episodes of several ages, some of them young
            seen = (torch.arange(filled, device=device) <= number[:, None]).repeat_interleave(self.tokens, 1)
            seen = seen[:, None, None]
        return Slot(number, places[:, None, :, None], filled * self.tokens, seen)

    def write(self, layer: int, slot: Slot, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new frame's keys and values (N, H, S, d) in; returns all that there are then."""
        for kept, new in zip(self.layers, (keys, values), strict=True):
            new = new.to(kept[layer].dtype)
            places = slot.tokens.expand_as(new)
            put = kept[layer].scatter_ if self.in_place else kept[layer].scatter
            kept[layer] = put(2, places, new)
        return self.layers[0][layer][:, :, : slot.keys], self.layers[1][layer][:, :, : slot.keys]

    def cache(self, frames: int) -> Cache:
        """The cache after so many new frames."""
        keys, values = self.whole if self.in_place else (torch.stack(kept, 1) for kept in self.layers)
        memory = Memory.of_layers(self.memory) if self.memory else None
        return Cache(keys, values, self.index + frames, self.least + frames, self.most + frames, memory)

    def ends_chunk(self, frame: int) -> Tensor | bool:
        """Whether the new frame of this number is the last of a chunk, for all episodes or (N,) for each."""
        if self.least == self.most:
            return (self.least + frame + 1) % CHUNK == 0
        return (self.index + frame + 1) % CHUNK == 0
