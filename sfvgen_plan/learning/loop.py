"""Slow-fast learning loop, Algorithm 1b: fast learning along many episodes, then steps on Φ beside the frozen Θ_i."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.learning.denoiser import DenoiserObjective, WindowSettings, corrupted
from sfvgen_plan.learning.trainer import training_precision
from sfvgen_plan.memory.learning import FastLearning, Given, learn
from sfvgen_plan.memory.weights import fresh_memory, hooked
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.model.unet import VideoUNet

_PARTS = ("down", "up")


@dataclass(frozen=True)
class LoopSettings:
    """How D_s is made.

    Attributes:
        episodes: whose memories learn side by side, over all processes.
        chunk: decisions of a chunk X_{i+1}.
        chunks: most chunks of an episode, from its start.
        passes: how often the outer steps go through D_s before it is made anew.
    """

    episodes: int = 64
    chunk: int = 8
    chunks: int = 16
    passes: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UserError(f"loop.{name}={value} is too small; give 1 or more")


@dataclass(frozen=True)
class Triples:
    """D_s, the part of one process: (X_i, X_{i+1}, Θ_i) of its episodes in one round.

    D_s is streamed, never on disk: made on the device, used for the outer steps of a round, let go, and made anew with
    the Φ that there is by then, of episodes that are drawn anew. A run that goes on makes that of its round again.

    Attributes:
        newest: (n,) frame number of the last frame of X_{i+1}; X_i are the frames before the chunk.
        chunk: (n,) i.
        down, up: layer name -> (n, ...) of Θ_i, which has learnt the chunks before X_{i+1}; empty without memory.
    """

    newest: Tensor
    chunk: Tensor
    down: dict[str, Tensor]
    up: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.newest)


class LoopObjective(nn.Module):
    """Eq. 2 with weights Φ + Θ_i, another Θ_i for every sample. Only Φ has parameters here."""

    def __init__(self, unet: VideoUNet, scheduler: Any, scale: float = 1.0) -> None:
        super().__init__()
        self.masked = DenoiserObjective(unet, scheduler)
        self.scale = scale

    @property
    def unet(self) -> VideoUNet:
        """Φ."""
        return self.masked.unet

    @property
    def scheduler(self) -> Any:
        """Its noise."""
        return self.masked.scheduler

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """What ``DenoiserObjective`` takes, and Θ_i: ``down.<layer>`` (B, rank, in), ``up.<layer>`` (B, out, rank)."""
        theta: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
        for name in list(batch):
            part, _, layer = name.partition(".")
            if layer:
                theta[part][layer] = batch.pop(name)
        with hooked(self.unet, theta["down"], theta["up"], self.scale):
            losses: dict[str, Tensor] = self.masked(**batch)
        return losses


class LoopStage:
    """Trains ``unet`` on the triples of D_s, which is streamed in rounds: made with Φ as it is at the start of a round
    of ``round_steps`` outer steps, gone through ``LoopSettings.passes`` times, and made anew.

    Args:
        data: with latents.
        objective: what is trained.
        text: (tasks, L, E) token features of the data's tasks.
        windows: conditions and noise of the outer steps; ``windows.context`` frames are X_i.
        settings: size of D_s.
        memory: fast learning; None trains on the same chunks without any Θ.
        batch: samples of an outer step, over all processes.
        seed: decides which episodes come when.
        process, processes: which share of D_s is made here. Shares differ, the number of steps does not.

    Raises:
        UserError: chunks that don't fit the context window, or no episode as long as one.
    """

    name = "loop"

    def __init__(
        self,
        data: TrainingData,
        objective: LoopObjective,
        text: Tensor,
        windows: WindowSettings,
        settings: LoopSettings,
        memory: FastLearning | None,
        batch: int,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        assert data.latents is not None
        if windows.context + settings.chunk > CONTEXT_WINDOW:
            raise UserError(
                f"loop.chunk={settings.chunk} and {windows.context} context frames exceed the context window of "
                f"{CONTEXT_WINDOW}; give shorter chunks"
            )
        self.data, self.objective, self.text, self.windows = data, objective, text, windows
        self.settings, self.memory, self.seed = settings, memory, seed
        self.process, self.processes = process, processes
        number = torch.arange(len(data.first), device=data.first.device)
        # Each episode is named by its first frame.
        self.starts = data.indices((number == data.first) & ~data.held_out & (data.last - number >= settings.chunk))
        if not len(self.starts):
            raise UserError(
                f"loop.chunk={settings.chunk} fits no episode of the data; give shorter chunks or collect longer ones"
            )
        shared = min(settings.episodes, len(self.starts))
        if shared < processes:
            raise UserError(
                f"loop.episodes={settings.episodes}: {processes} processes can't share {shared} episodes of "
                f"{settings.chunk} decisions or more; start fewer, give more episodes or collect more"
            )
        mean = float(self._chunks(self.starts).double().mean())
        self.round_steps = max(1, round(mean * shared * settings.passes / batch))
        self._origin: dict[str, Tensor] | None = None
        self._round = -1
        self._triples: Triples | None = None

    def batch(self, step: int, size: int, generator: torch.Generator, average: nn.Module) -> dict[str, Tensor]:
        number, position = divmod(step, self.round_steps)
        triples = self._triples_of(number, fresh=position == 0)
        chosen = self._order(number, len(triples), size)[position * size : (position + 1) * size]
        newest = triples.newest[chosen]
        window = self.data.window(newest, self.windows.context + self.settings.chunk)
        assert self.data.latents is not None
        latents = self.data.latents[window].float()
        past = torch.full_like(newest, self.windows.context)
        batch = corrupted(
            self.windows,
            self.objective.scheduler,
            latents,
            latents,
            past,
            self.data.told_actions[window],
            self.text[self.data.task[newest]],
            self.data.told[newest],
            generator,
        )
        theta = {f"down.{layer}": values[chosen] for layer, values in triples.down.items()}
        return batch | theta | {f"up.{layer}": values[chosen] for layer, values in triples.up.items()}

    def collect(self, number: int) -> Triples:
        """The share of this process of D_s in round ``number``, made with Φ as it is now, which is left alone."""
        start, seeds = self._episodes(number)
        chunks = self._chunks(start)
        learning = self.memory
        memory = None
        if learning is not None:
            memory = fresh_memory(self.objective.unet, seeds, learning.rank, learning.alpha, learning.targets)
        found: list[Triples] = []
        for i in range(int(chunks.max())):
            active = int((chunks > i).sum())  # the longest episodes come first
            newest = start[:active] + (i + 1) * self.settings.chunk
            if memory is not None:
                memory = memory.select(torch.arange(active, device=start.device)).owned()
            down, up = (memory.down, memory.up) if memory is not None else ({}, {})
            found.append(Triples(newest, torch.full_like(newest, i), down, up))
            if memory is not None and learning is not None and i + 1 < int(chunks.max()):
                sequence, given = self._learnable(newest, i, learning)
                with training_precision(newest.device):
                    memory, _ = learn(
                        self.objective.unet,
                        self.objective.scheduler,
                        memory,
                        sequence,
                        seeds[:active],
                        learning,
                        given,
                    )

        def joined(part: str) -> dict[str, Tensor]:
            layers = getattr(found[0], part)
            return {layer: torch.cat([getattr(triples, part)[layer] for triples in found]) for layer in layers}

        return Triples(
            torch.cat([triples.newest for triples in found]),
            torch.cat([triples.chunk for triples in found]),
            joined("down"),
            joined("up"),
        )

    def state_dict(self) -> dict[str, Any]:
        """Φ at the start of the round, which D_s can be made from again."""
        return {"origin": self._origin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the round that ``state`` was saved in."""
        self._origin = state["origin"]
        self._round, self._triples = -1, None

    def _triples_of(self, number: int, fresh: bool) -> Triples:
        if self._triples is not None and self._round == number:
            return self._triples
        self._triples = None  # let go of the old memories before there are new ones
        unet = self.objective.unet
        if fresh or self.memory is None:
            if self.memory is not None:
                self._origin = {name: values.detach().clone() for name, values in unet.state_dict().items()}
            triples = self.collect(number)
        else:  # resumed within a round
            assert self._origin is not None
            now = {name: values.detach().clone() for name, values in unet.state_dict().items()}
            unet.load_state_dict(self._origin)
            triples = self.collect(number)
            unet.load_state_dict(now)
        self._round, self._triples = number, triples
        return triples

    def _learnable(self, newest: Tensor, i: int, learning: FastLearning) -> tuple[Tensor, Given | None]:
        """What fast learning is shown after chunk ``i``, as ``LearnedSimulator.remember`` has it."""
        past, length = self.windows.context, (i + 1 if learning.keeps_all else 1) * self.settings.chunk
        window = self.data.window(newest, past + length)
        assert self.data.latents is not None
        sequence = self.data.latents[window].float()
        if not learning.keeps_actions:
            return sequence, None
        return sequence, Given(past, self.data.told_actions[window], self.text[self.data.task[newest]])

    def _episodes(self, number: int) -> tuple[Tensor, Tensor]:
        """First frames and seeds of this process's episodes in a round, the longest first."""
        host = torch.Generator().manual_seed(_mixed(self.seed, number))
        order = torch.randperm(len(self.starts), generator=host)[: self.settings.episodes]
        start = self.starts[order[self.process :: self.processes].to(self.starts.device)]
        start = start[self._chunks(start).argsort(descending=True, stable=True)]
        return start, start + number * len(self.data.first)

    def _order(self, number: int, count: int, size: int) -> Tensor:
        """Which triples make the batches of a round: all of them once before any comes again."""
        host = torch.Generator().manual_seed(_mixed(self.seed + 1, number * 1_009 + self.process))
        times = -(-self.round_steps * size // count)
        order = torch.cat([torch.randperm(count, generator=host) for _ in range(times)])
        return order.to(self.starts.device)

    def _chunks(self, start: Tensor) -> Tensor:
        """(E,) whole chunks of the episodes that are learnt from."""
        return ((self.data.last[start] - start) // self.settings.chunk).clamp(max=self.settings.chunks)


def _mixed(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number) % 2**62
