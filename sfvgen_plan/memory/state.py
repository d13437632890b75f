"""What imagined episodes remember: values of N episodes, L memory layers, H heads of rank r, S tokens a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """What N episodes remember in L memory layers: tensors that lead with (N, L). A value but for ``copy_``."""

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

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The episodes of all parts, in that order."""
        return cls(*(torch.cat(part) for part in zip(*(one._parts() for one in parts), strict=True)))

    def where(self, chosen: Tensor, other: Self) -> Self:
        """This one in the episodes that are ``chosen`` (N,), the other one elsewhere."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return type(self)(*(torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x, y) for x, y in pairs))

    def clone(self) -> Self:
        """The same in tensors of its own."""
        return type(self)(*(part.clone() for part in self._parts()))

    def copy_(self, other: Memory) -> None:
        """Overwrite it with another of the same sizes: for CUDA graphs, which work in place."""
        for part, new in zip(self._parts(), other._parts(), strict=True):
            part.copy_(new)

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

    def _parts(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


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
