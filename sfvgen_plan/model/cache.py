"""Keys and values of clean frames: as a value, and as room to put new ones behind them.

Shapes: N episodes, L layers, H heads of d numbers, S tokens a frame, W frames that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.memory.state import Memory
from sfvgen_plan.memory.temp_lora import CHUNK


@dataclass(frozen=True)
class Cache:
    """Keys and values of the newest W clean frames of N episodes, oldest first; a value, never changed in place.

    Attributes:
        keys, values: (N, L, H, W * S, d) of the L layers' H heads.
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


class Window:
    """Room for G new frames behind a cache, filled in place while it is worked on. Where gradients are wanted, or the
    work is compiled (which would copy the whole of what is written into), every frame's keys are put behind anew.

    Frame slot p of W + G holds the frame of number ``index - W + p``.
    """

    def __init__(self, cache: Cache, frames: int, tokens: int) -> None:
        self.tokens, self.width = tokens, cache.keys.shape[-2] // tokens
        self.index, self.least, self.most = cache.index, cache.least, cache.most
        self.in_place = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        self.whole = tuple(self._with_room(kept, frames * tokens) for kept in (cache.keys, cache.values))
        self.layers = [list(kept.unbind(1)) for kept in self.whole]
        self.memory = cache.memory.layers() if cache.memory is not None else []

    def _with_room(self, kept: Tensor, tokens: int) -> Tensor:
        if not self.in_place:
            return kept
        return torch.cat([kept, kept.new_empty(*kept.shape[:3], tokens, kept.shape[-1])], dim=3)

    def number(self, first: int, frames: int) -> Tensor:
        """(N, frames) numbers of the new frames from ``first`` on, for their rotary positions."""
        return self.index[:, None] + torch.arange(first, first + frames, device=self.index.device)

    def oldest(self, first: int) -> int:
        """The oldest slot that any of the new frames from ``first`` on may see."""
        return max(first, self.width - self.most)

    def mask(self, first: int, frames: int) -> Tensor | None:
        """(N, 1, frames * S, keys) which keys the new frames from ``first`` on see: their own, and those of the W
        frames before; None where that is all that ``write`` returns."""
        alike = self.least == self.most or self.least + first >= self.width
        if frames == 1 and alike:
            return None
        device = self.index.device
        slot = torch.arange(self.oldest(first), self.width + first + frames, device=device)
        new = self.width + torch.arange(first, first + frames, device=device)
        near = (slot <= new[:, None]) & (slot >= new[:, None] - self.width)
        real = slot >= self.width - self.index.clamp(max=self.width)[:, None]
        seen = near & real[:, None]
        return seen.repeat_interleave(self.tokens, 1).repeat_interleave(self.tokens, 2)[:, None]

    def write(self, layer: int, first: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the new frames' keys and values (N, H, F * S, d) in; returns all that they may see."""
        start = (self.width + first) * self.tokens
        end, low = start + keys.shape[2], self.oldest(first) * self.tokens
        for kept, new in zip(self.layers, (keys, values), strict=True):
            if self.in_place:
                kept[layer][:, :, start:end] = new.to(kept[layer].dtype)
            else:
                kept[layer] = torch.cat([kept[layer][:, :, :start], new.to(kept[layer].dtype)], 2)
        return self.layers[0][layer][:, :, low:end], self.layers[1][layer][:, :, low:end]

    def cache(self, frames: int) -> Cache:
        """The cache after the first ``frames`` new ones."""
        low, high = frames * self.tokens, (self.width + frames) * self.tokens
        whole = self.whole
        if not self.in_place:
            whole = tuple(torch.stack([kept[:, :, :high] for kept in layers], 1) for layers in self.layers)
        keys, values = (kept[:, :, :, low:high] for kept in whole)
        memory = Memory.of_layers(self.memory) if self.memory else None
        return Cache(keys, values, self.index + frames, self.least + frames, self.most + frames, memory)

    def ends_chunk(self, first: int) -> Tensor | bool:
        """Whether the new frame of number ``first`` is the last of a chunk, for all episodes or (N,) for each."""
        if self.least == self.most:
            return (self.least + first + 1) % CHUNK == 0
        return (self.index + first + 1) % CHUNK == 0
