"""Adam on the memories of many episodes, each in one long row: hundreds of small tensors would take longer to launch
than to compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfvgen_plan.memory.weights import Memory


@dataclass(frozen=True)
class Rows:
    """M memories that learn. Unlike a ``Memory`` its tensors change in place.

    Attributes:
        weights: (M, numbers) LoRA A of all layers, then B of all.
        first, second: (M, numbers) their Adam moments.
        steps: (M,) learning steps taken.
        layers: names.
        shapes: of each layer's A, then of each layer's B, without the leading M.
        scale: alpha / rank.
    """

    weights: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor
    layers: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    scale: float

    @classmethod
    def of(cls, memory: Memory) -> Rows:
        """A copy of a memory whose episodes share nothing (``Memory.owned``)."""
        layers = tuple(memory.down)
        weights = [memory.down[layer] for layer in layers] + [memory.up[layer] for layer in layers]
        moments = [memory.moments[f"{layer}.{part}"] for part in ("down", "up") for layer in layers]
        return cls(
            _row(weights),
            _row(first for first, _ in moments),
            _row(second for _, second in moments),
            memory.steps.clone(),
            layers,
            tuple(values.shape[1:] for values in weights),
            memory.scale,
        )

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All that a step reads and changes."""
        return self.weights, self.first, self.second, self.steps

    def clone(self) -> Rows:
        """The same numbers in tensors of their own."""
        weights, first, second, steps = (tensor.clone() for tensor in self.tensors)
        return replace(self, weights=weights, first=first, second=second, steps=steps)

    def memory(self) -> Memory:
        """The memories, as views: take no further steps on these rows."""
        down, up = self.split(self.weights)
        moments = {
            f"{layer}.{part}": (first[layer], second[layer])
            for part, first, second in zip(("down", "up"), self.split(self.first), self.split(self.second), strict=True)
            for layer in self.layers
        }
        owner = torch.arange(len(self.steps), device=self.steps.device)
        return Memory(down, up, moments, self.steps, owner, self.scale)

    def split(self, row: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A row (M, numbers) as views: layer name -> (M, rank, in) of A, and layer name -> (M, out, rank) of B."""
        parts = row.split([shape.numel() for shape in self.shapes], dim=1)
        tensors = [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        down, up = tensors[: len(self.layers)], tensors[len(self.layers) :]
        return dict(zip(self.layers, down, strict=True)), dict(zip(self.layers, up, strict=True))

    @torch.no_grad()
    def descend(self, gradient: Tensor, rate: float) -> None:
        """One step of Adam (Kingma and Ba 2015, the constants of torch.optim.Adam) on every number alone.

        Args:
            gradient: (M, numbers) of the weights.
            rate: Adam's α.
        """
        self.steps.add_(1)
        count = self.steps.double()[:, None]  # 1 - 0.999**count loses digits in float32
        early, late = ((1 - decay**count).to(gradient.dtype) for decay in (0.9, 0.999))
        self.first.mul_(0.9).add_(gradient, alpha=0.1)
        self.second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        self.weights.sub_((self.first / early).div_((self.second / late).sqrt_().add_(1e-8)).mul_(rate))


def _row(tensors: Iterable[Tensor]) -> Tensor:
    """(M, numbers) from tensors (M, ...)."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)
