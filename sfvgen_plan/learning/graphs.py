"""Training steps replayed as CUDA graphs: a small network takes longer to launch, kernel by kernel, than to compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sfvgen_plan.replay import captured

Shapes = tuple[torch.Size, ...]


class CapturedObjective(nn.Module):
    """Calls an objective through CUDA graphs of its forward and backward pass, one for every shape of batch.

    The objective must neither wait for the device nor draw random numbers. The first batch of a shape is captured
    (about a second), later ones are copied in and replayed with the same gradients bit for bit. Losses are overwritten
    by the next batch of that shape.
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective
        self._captured: dict[Shapes, Callable[..., dict[str, Tensor]]] = {}

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        shapes = tuple(tensor.shape for tensor in batch.values())
        if shapes not in self._captured:
            samples = tuple(tensor.clone() for tensor in batch.values())
            # Autocast's cache of cast weights would tie the graph to copies made outside of it.
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                positional = _Positional(self.objective, tuple(batch))
                replayed: Any = torch.cuda.make_graphed_callables(positional, samples, allow_unused_input=True)
            self._captured[shapes] = replayed
        return self._captured[shapes](*batch.values())


class CapturedFunction:
    """Calls a function of tensors, without gradients, through CUDA graphs: one for every shape of its arguments."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._captured: dict[Shapes, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}

    @torch.no_grad()
    def __call__(self, *arguments: Tensor) -> Tensor:
        shapes = tuple(tensor.shape for tensor in arguments)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(tuple(tensor.clone() for tensor in arguments))
        graph, inputs, output = self._captured[shapes]
        for given, kept in zip(arguments, inputs, strict=True):
            kept.copy_(given)
        graph.replay()
        return output.clone()

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            graph, output = captured(lambda: self.function(*inputs))
        return graph, inputs, output


class _Positional(nn.Module):
    """Graphs take positional tensors."""

    def __init__(self, objective: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.objective = objective
        self.names = names

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.objective(**dict(zip(self.names, tensors, strict=True)))
        return losses
