"""What left the window of cached frames, found again by where it was: memory layers of the video transformer.

Everything that is stored and asked for has an address: the place (the sum of the actions since the episode began), the
token's place in the picture, and a little of what the token shows. A layer of the beginning has the frame's age instead
of its place, and is always asked for age 0: what a camera that stands still saw before things were moved. Clean frames
are written as they are looked at; every frame, clean or noisy, reads. In training whole episodes pass at once, and
gradients flow through the writing (the slow-fast loop, SlowFast-VGen, algorithm 1b, with the gradient that the paper
leaves out).

Shapes: B or N episodes, F frames, S tokens a frame, D numbers a token, M numbers of a place, K features of an address,
H heads of rank r that store values of v numbers. Where a frame was is (..., M + 1): its place, and behind it its age,
the binary logarithm of 1 + frames since the episode began. What episodes remember are values of N of them, in L layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvgen_plan.values import Value


@dataclass(frozen=True)
class Memory(Value):
    """What N episodes remember in L memory layers: tensors that lead with (N, L)."""

    def layers(self) -> list[Self]:
        """Those of one layer each."""
        parts = (getattr(self, field.name).split(1, 1) for field in fields(self))
        return [type(self)(*layer) for layer in zip(*parts, strict=True)]

    @staticmethod
    def of_layers(layers: Sequence[Memory]) -> Memory:
        """The same, of several layers."""
        return layers[0].each(lambda *parts: torch.cat(parts, 1), *layers[1:])

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {f"memory.{type(self).__name__}.{field.name}": getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def of_tensors(tensors: Mapping[str, Tensor]) -> Memory | None:
        """The memory whose ``tensors`` are among these, or None."""
        for kind in (Lora, Bank):
            names = [f"memory.{kind.__name__}.{field.name}" for field in fields(kind)]
            if names[0] in tensors:
                return kind(*(tensors[name] for name in names))
        return None


@dataclass(frozen=True)
class Lora(Memory):
    """The fast weights ``B`` of a Temp-LoRA, and the two sums that its loss is made of.

    Attributes:
        fast: (N, L, H, r, v + 1) what is read; the last column learns a one beside every value, and so tells whether a
            place is known.
        gram: (N, L, H, r, r) sum of β φ φᵀ over the frames so far.
        cross: (N, L, H, r, v + 1) sum of β φ [v, 1]ᵀ.
    """

    fast: Tensor
    gram: Tensor
    cross: Tensor


@dataclass(frozen=True)
class Bank(Memory):
    """Keys and values of frames.

    Attributes:
        keys, values: (N, L, C, S, D) of C frames; the first ones are filled first.
        number: (N, L, C) int64, which frames of the episode they are; ``recall.NEVER`` where there is none yet.
        count: (N, L) int64, frames of the episode.
    """

    keys: Tensor
    values: Tensor
    number: Tensor
    count: Tensor


class Layer(Protocol):
    """A memory layer: what every kind of it can do."""

    def empty(self, episodes: int) -> Any:
        """Nothing remembered yet, as a ``Memory`` of one layer."""

    def training_pass(self, tokens: Tensor, place: Tensor, real: Tensor) -> Tensor:
        """What 2 F frames (B, 2 F, S, D) read, clean copies first, of what the clean frames wrote before them. place
        (B, 2 F, M + 1); real (B, F) says which frames exist."""

    def read(self, memory: Any, tokens: Tensor, place: Tensor) -> Tensor:
        """What frames (N, F, S, D) read."""

    def write(self, memory: Any, tokens: Tensor, place: Tensor, imagined: Tensor) -> Any:
        """The memory after a clean frame (N, 1, S, D), real or ``imagined`` (N, 1) bool: dreaming must not wear away
        what was real."""

    def learn(self, memory: Any) -> Any:
        """The memory after fast learning at the end of a chunk; itself where there is none."""


class Address(nn.Module):
    """Random Fourier features of a place, a token and its content: near-orthogonal before any training, and the same
    for writing and reading, so that a place is recalled from the first step on. ``beginning``: see the module."""

    def __init__(self, dim: int, places: int, tokens: int, features: int, beginning: bool = False) -> None:
        super().__init__()
        self.beginning = beginning
        waves, places = (0.5, 1) if beginning else (1.5, places)
        scale = torch.exp(torch.rand(features, 1) * math.log(8)) * 0.5 * waves  # from wide waves to narrow ones
        self.omega = nn.Parameter(torch.randn(features, places) * scale)
        self.theta = nn.Parameter(torch.rand(tokens, features) * 2 * math.pi)
        self.content = nn.Linear(dim, features, bias=False)
        nn.init.normal_(self.content.weight, std=0.1 / math.sqrt(dim))

    def forward(self, tokens: Tensor, place: Tensor, asking: bool = False) -> Tensor:
        """tokens (B, F, S, D), place (B, F, M + 1) -> (B, F, S, K) of unit variance; ``asking``: where to read."""
        place = place[..., -1:] * (not asking) if self.beginning else place[..., :-1]
        with torch.autocast(tokens.device.type, enabled=False):  # phases grow large
            phase = (place.float()[..., None, :] * self.omega.float()).sum(-1)[..., None, :] + self.theta.float()
        return (math.sqrt(2) * (phase + self.content(tokens)).sin()).to(tokens.dtype)

    def written_and_asked(self, tokens: Tensor, place: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Where the first ``frames`` frames are written, and where all of them read."""
        asked = self(tokens, place, asking=True)
        written = self(tokens[:, :frames], place[:, :frames]) if self.beginning else asked[:, :frames]
        return written, asked


def unit(x: Tensor) -> Tensor:
    """Divided by its root mean square over the last axis: keeps attention's scores in range."""
    return F.rms_norm(x, x.shape[-1:])
