"""What imagined episodes remember: values of N episodes, L memory layers, H heads of rank r, S tokens a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        return layers[0]._each(lambda *parts: torch.cat(parts, 1), *layers[1:])

    def select(self, index: Tensor) -> Self:
        """The episodes named by ``index``."""
        return self._each(lambda part: part[index])

    def replaced(self, index: Tensor, part: Self) -> Self:
        """The same, but the episodes that ``index`` names are those of ``part``."""
        return self._each(lambda old, new: old.index_copy(0, index, new), part)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The episodes of all parts, in that order."""
        return parts[0]._each(lambda *several: torch.cat(several), *parts[1:])

    def where(self, chosen: Tensor, other: Self) -> Self:
        """This one in the episodes that are ``chosen`` (N,), the other one elsewhere."""
        return self._each(lambda x, y: torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x, y), other)

    def clone(self) -> Self:
        """The same in tensors of its own."""
        return self._each(torch.clone)

    def copy_(self, other: Memory) -> None:
        """Overwrite it with another of the same sizes: for CUDA graphs, which work in place."""
        self._each(Tensor.copy_, other)

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

    def _each(self, work: Callable[..., Tensor], *others: Memory) -> Self:
        """Of what ``work`` makes of every tensor, and those of the same name of others."""
        parts = zip(self._parts(), *(other._parts() for other in others), strict=True)
        return type(self)(*(work(*of) for of in parts))

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
