"""Values of N episodes: frozen dataclasses whose tensors, and those of the values within them, all lead with N."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Value:
    """What can be done with all of its tensors at once. Nothing is changed in place but by ``copy_``."""

    def each(self, work: Callable[..., Tensor], *others: Self) -> Self:
        """What ``work`` makes of every tensor, and of those in the same places of others."""
        made: dict[str, Any] = {}
        for name in (item.name for item in fields(self)):
            first, *rest = (getattr(of, name) for of in (self, *others))
            if isinstance(first, (Tensor, Value)):
                made[name] = work(first, *rest) if isinstance(first, Tensor) else first.each(work, *rest)
        return replace(self, **made)

    def select(self, index: Tensor) -> Self:
        """The episodes named by ``index`` (M,) int64, in that order; forks share their random state."""
        return self.each(lambda part: part[index])

    def replaced(self, index: Tensor, part: Self) -> Self:
        """The same episodes, but those that ``index`` names are the ones of ``part``."""
        return self.each(lambda old, new: old.index_copy(0, index, new), part)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The episodes of all parts, in that order."""
        first, *others = parts
        return first.each(lambda *several: torch.cat(several), *others) if others else first

    def where(self, chosen: Tensor, other: Self) -> Self:
        """This one in the episodes that are ``chosen`` (N,), the other one elsewhere."""
        return self.each(lambda x, y: torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x, y), other)

    def to(self, device: torch.device | str) -> Self:
        """On another device."""
        return self.each(lambda part: part.to(device))

    def clone(self) -> Self:
        """The same in tensors of its own."""
        return self.each(torch.clone)

    def copy_(self, other: Self) -> None:
        """Overwrite it with another of the same sizes: for CUDA graphs, which work in place."""
        self.each(Tensor.copy_, other)
