"""Fast learning replayed as CUDA graphs: for few episodes a step takes far longer to launch than to compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfvgen_plan.memory.learning import FastLearning, Given, Lesson, advance, differentiable, learn
from sfvgen_plan.memory.weights import Memory, computed_in
from sfvgen_plan.model.unet import VideoUNet, short_attention

MOST_EPISODES = 8
"""Larger batches are not captured: launches weigh less beside what the device computes for them, and a graph keeps the
memory of its activations, which grows with the batch."""

MOST_KINDS = 4
"""Kinds of batches that are kept in mind, those that came last."""

Step = Callable[[], Tensor]


class CapturedLearning:
    """``learn`` by means of CUDA graphs of its step.

    A kind of batch (shapes, settings, precision) is captured when it comes for the second time, which takes as long as
    a few steps. Until then, and for large batches and on other devices, it is learnt as usual. Graphs read the
    denoiser's weights where they lie: those may change, but not be replaced.

    Args:
        unet, scheduler: as for ``learn``.
        record: makes a step cheap to repeat; None: ``GraphRecorder``, if the denoiser is on such a device.
    """

    def __init__(self, unet: VideoUNet, scheduler: object, record: Callable[[Step], Step] | None = None) -> None:
        self.unet = unet
        self.scheduler = scheduler
        self._record = GraphRecorder(unet.device) if record is None and unet.device.type == "cuda" else record
        self._kinds: dict[Hashable, _Captured | None] = {}  # the newest at the end; None: has come once

    def __call__(
        self, memory: Memory, sequence: Tensor, seeds: Tensor, settings: FastLearning, given: Given | None = None
    ) -> tuple[Memory, Tensor]:
        """As ``learn``; later calls don't overwrite what is returned."""
        if self._record is None or len(sequence) > MOST_EPISODES:
            return learn(self.unet, self.scheduler, memory, sequence, seeds, settings, given)
        with torch.inference_mode(False):
            lesson = Lesson.of(memory, sequence, seeds, given)
            kind = _kind(lesson, settings)
            repeated = kind in self._kinds
            captured = self._kinds.pop(kind, None)
            if repeated and captured is None:
                captured = self._capture(self._record, Lesson.of(memory, sequence, seeds, given), settings)
            self._kinds[kind] = captured
            if len(self._kinds) > MOST_KINDS:
                del self._kinds[next(iter(self._kinds))]
            if captured is None:
                return learn(self.unet, self.scheduler, memory, sequence, seeds, settings, given)
            return captured.learn(lesson, settings.steps)

    def _capture(self, record: Callable[[Step], Step], lesson: Lesson, settings: FastLearning) -> _Captured:
        with differentiable(self.unet), short_attention(lesson.sequence.device):
            return _Captured(lesson, record(lambda: advance(self.unet, self.scheduler, lesson, settings)))


@dataclass(frozen=True)
class _Captured:
    """``step`` reads and changes what is in ``lesson``; the losses (N,) that it returns are overwritten by the next."""

    lesson: Lesson
    step: Step

    def learn(self, lesson: Lesson, steps: int) -> tuple[Memory, Tensor]:
        """``lesson`` is of the same kind."""
        for kept, new in zip(self.lesson.tensors, lesson.tensors, strict=True):
            kept.copy_(new)
        for _ in range(steps):
            losses = self.step()
        return self.lesson.rows.clone().memory(), losses.clone()


def _kind(lesson: Lesson, settings: FastLearning) -> Hashable:
    """What a captured step depends on, beside what is in the lesson's tensors."""
    rows, past = lesson.rows, None if lesson.given is None else lesson.given.past
    shapes = tuple(tensor.shape for tensor in lesson.tensors)
    # A step is the same whatever their number, and the layers are those of the memory.
    settings = replace(settings, steps=1, targets=())
    return shapes, rows.layers, rows.shapes, rows.scale, past, settings, computed_in(lesson.sequence)


class GraphRecorder:
    """Makes CUDA graphs of functions on one device. They share their memory: what a function returns is lost with the
    next replay of any."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._newest: torch.cuda.CUDAGraph | None = None  # memory can be shared with a graph that still exists

    def __call__(self, step: Step) -> Step:
        """A function that replays ``step``, which must not wait for the device."""
        kind, graph = "cuda", torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream(self._stream.device)
        pool = self._newest.pool() if self._newest is not None else None
        # Autocast's cache of cast weights would tie the graph to copies made outside of it.
        with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
            self._stream.wait_stream(here)
            with torch.cuda.stream(self._stream):  # libraries choose their kernels before the capture
                for _ in range(3):
                    step()
            here.wait_stream(self._stream)
            with torch.cuda.graph(graph, pool, self._stream):
                losses = step()
        self._newest = graph

        def replay() -> Tensor:
            graph.replay()
            return losses

        return replay
