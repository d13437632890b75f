"""Imagined decisions and training steps replayed as CUDA graphs: a small network takes longer to launch, kernel by
kernel, than to compute."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from sfvgen_plan.memory.layers import Memory
from sfvgen_plan.memory.temp_lora import CHUNK
from sfvgen_plan.model.attention import Cache, Window
from sfvgen_plan.model.condition import Condition

if TYPE_CHECKING:
    from sfvgen_plan.imagination import Imagination, Policy

Decide = Callable[["Imagination", Window, Condition, Tensor | None], tuple[Tensor, Tensor]]
"""One decision: the new frame's tokens (N, 1, S, V), those given or imagined ones, and its features (N, 1, K), put into
the window."""

Shapes = tuple[torch.Size, ...]
Key = tuple[int, bool, bool]  # episodes, whether all of them are older than the window, whether frames are shown
PATIENCE = 8  # calls of one size before it is captured, which takes about as long as a hundred of them
KEPT = 6  # sizes that are kept at once
SHARE = 8  # a graph may keep so large a part of the device's memory: one of 8

Result = TypeVar("Result")


def captured(work: Callable[[], Result]) -> tuple[torch.cuda.CUDAGraph, Result]:
    """A CUDA graph of ``work``, and what it returns, which every replay of the graph overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels are chosen and compiled before the capture, off the main stream
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


class Replays:
    """Graphs of one decision, for the numbers of episodes that come again and again.

    Args:
        decide: what a decision is.
        tokens: S, of a frame.
    """

    def __init__(self, decide: Decide, tokens: int) -> None:
        self._decide, self._tokens = decide, tokens
        self._met: Counter[Key] = Counter()
        self._graphs: OrderedDict[Key, _Graph] = OrderedDict()

    def of(self, state: Imagination, shown: Tensor | None) -> _Graph | None:
        """The graph for so many episodes of such an age, which imagine or are ``shown`` frames (N, G, S, V); None where
        there is none (yet)."""
        cache = state.cache
        # Episodes with a memory must all finish their chunks at once.
        fits = cache.memory is None or cache.least == cache.most
        if not fits or torch.is_grad_enabled():
            return None
        old = cache.least >= cache.keys.shape[-2] // self._tokens - 1
        key = (len(state), old, shown is not None)
        self._met[key] += 1
        if key not in self._graphs:
            room = torch.cuda.get_device_properties(cache.keys.device).total_memory // SHARE
            if self._met[key] < PATIENCE or 2 * cache.keys.nbytes > room:
                return None
            self._graphs[key] = _Graph(self._decide, state, self._tokens, shown)
            if len(self._graphs) > KEPT:
                self._met[self._graphs.popitem(last=False)[0]] = 0
        self._graphs.move_to_end(key)
        return self._graphs[key]


class _Graph:
    """The captured decision, twice where episodes learn at the end of a chunk, and the memory that it works in."""

    def __init__(self, decide: Decide, state: Imagination, tokens: int, shown: Tensor | None) -> None:
        cache = state.cache
        memory = None if cache.memory is None else cache.memory.clone()
        self.cache = replace(
            cache, keys=cache.keys.clone(), values=cache.values.clone(), index=cache.index.clone(), memory=memory
        )
        self.state = replace(
            state, cache=self.cache, text=state.text.clone(), seed=state.seed.clone(), step=state.step.clone()
        )
        count = len(state)
        self.action, self.place = (state.place.new_zeros(count, 1, state.place.shape[1]) for _ in range(2))
        self.given = state.place.new_ones(count, 1)
        self.frame = None if shown is None else torch.zeros_like(shown[:, :1])
        self._decide, self._tokens = decide, tokens
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, tuple[Tensor, Tensor]]] = {}

    def _capture(self, least: int) -> None:
        """Of a decision of episodes of such an age, if there is none yet."""
        if self._ends(least) in self._graphs:
            return
        known = Condition(self.action, self.given, self.place, self.state.text[:, None])
        cache = replace(self.cache, least=least, most=least) if self.cache.memory is not None else self.cache

        def decision() -> tuple[Tensor, Tensor]:
            window = Window(cache, self._tokens, fixed=True)
            made = self._decide(self.state, window, known, self.frame)
            if cache.memory is not None:
                cache.memory.copy_(Memory.of_layers(window.memory))
            cache.index.add_(1)
            self.state.step.add_(1)
            return made

        self._graphs[self._ends(least)] = captured(decision)

    def _ends(self, least: int) -> bool:
        """Whether the next decision of episodes of such an age ends a chunk."""
        return self.cache.memory is not None and (least + 1) % CHUNK == 0

    def run(
        self, state: Imagination, policy: Policy, decisions: int, given: float, shown: Tensor | None
    ) -> tuple[Cache, Tensor, list[Tensor], list[Tensor]]:
        """The cache and the place (N, A) after the policy's actions, which perhaps led to frames (N, G, S, V) that are
        shown; the frames' tokens and features."""
        old = state.cache
        for g in range(decisions):
            self._capture(old.least + g)
        if old.memory is not None and self.cache.memory is not None:
            self.cache.memory.copy_(old.memory)
        for kept, new in (
            (self.cache.keys, old.keys), (self.cache.values, old.values), (self.cache.index, old.index),
            (self.state.text, state.text), (self.state.seed, state.seed), (self.state.step, state.step),
            (self.place, state.place[:, None]),
        ):  # fmt: skip
            kept.copy_(new)
        self.given.fill_(given)
        frames: list[Tensor] = []
        features: list[Tensor] = []
        for g in range(decisions):
            self.action.copy_(policy(g, features[-1][:, 0] if features else state.features)[:, None])
            self.place.add_(self.action, alpha=given)
            if self.frame is not None and shown is not None:
                self.frame.copy_(shown[:, g : g + 1])
            graph, (frame, read) = self._graphs[self._ends(old.least + g)]
            graph.replay()
            frames.append(frame.clone())
            features.append(read.clone())
        memory = self.cache.memory
        cache = replace(
            old, keys=self.cache.keys.clone(), values=self.cache.values.clone(), index=old.index + decisions,
            least=old.least + decisions, most=old.most + decisions, memory=None if memory is None else memory.clone(),
        )  # fmt: skip
        return cache, self.place[:, 0].clone(), frames, features


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
