"""Blocks of the video transformer, and the keys and values of clean frames that they see: as a value, and as room to
put new ones in.

Shapes: N episodes, L layers, H heads of d numbers, S tokens a frame, W frames that a frame sees beside itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from sfvgen_plan.memory.layers import Layer, Memory
from sfvgen_plan.memory.temp_lora import CHUNK
from sfvgen_plan.values import Value

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Cache(Value):
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

    def each(self, work: Callable[..., Tensor], *others: Cache) -> Cache:
        ages = [of.least for of in (self, *others)], [of.most for of in (self, *others)]
        return replace(super().each(work, *others), least=min(ages[0]), most=max(ages[1]))


class Slot(NamedTuple):
    """Where a new frame is put, and what it sees: its number (N,), the rotary positions of that, the places (N, 1, S,
    1) of its tokens, how many keys there are at most, and which of them are seen (N, 1, 1, keys), None for all."""

    number: Tensor
    turn: tuple[Tensor, Tensor]
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
        turn = turns(number[:, None], self.whole[0].shape[-1] // 2)
        return Slot(number, turn, places[:, None, :, None], filled * self.tokens, seen)

    def attend(self, layer: int, slot: Slot, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Put the new frame's keys and values (N, H, S, d) in; what its queries hear of all that there are then."""
        for kept, new in zip(self.layers, (key, value), strict=True):
            new = new.to(kept[layer].dtype)
            places = slot.tokens.expand_as(new)
            put = kept[layer].scatter_ if self.in_place else kept[layer].scatter
            kept[layer] = put(2, places, new)
        keys, values = (kept[layer][:, :, : slot.keys] for kept in self.layers)
        return F.scaled_dot_product_attention(query.to(keys.dtype), keys, values, slot.seen)

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


def rule(frames: int, tokens: int, window: int) -> Rule:
    """Who sees whom when a window of F frames, of S tokens each, is trained on, clean copies first, noisy ones behind:
    whether a query sees a key, by their numbers in the sequence of 2 F S tokens, whatever batch and head.

    A clean copy sees the clean frames up to itself, a noisy one the clean frames before it and itself, both ``window``
    frames back at most.
    """

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        gap = query // tokens % frames - key // tokens % frames
        noisy, other = query >= frames * tokens, key >= frames * tokens
        before = ~other & ((gap > 0) | ~noisy & (gap == 0)) & (gap <= window)
        return before | noisy & other & (gap == 0)

    return sees


def pairs_mask(frames: int, tokens: int, window: int, device: torch.device) -> Tensor:
    """All pairs, (2 F S, 2 F S) bool."""
    at = torch.arange(2 * frames, device=device)
    of_frames = rule(frames, 1, window)(at, at, at[:, None], at)
    return of_frames.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


def pairs_seen(frames: int, tokens: int, window: int, device: torch.device) -> BlockMask:
    """The same for attention that skips blocks of pairs that don't see each other; on a CUDA device."""
    length = 2 * frames * tokens
    return create_block_mask(rule(frames, tokens, window), None, None, length, length, device.type)
