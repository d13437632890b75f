"""What imagined episodes remember: values of N episodes, L memory layers, H heads of rank r, S tokens a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

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
