"""Imagined episodes side by side as values, and snapshots of them, counters and random states included, in memory or in
one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.io import atomic
from sfvgen_plan.simulation import as_long

_COUNTERS = ("decisions", "latched", "over", "ended")


@dataclass(frozen=True)
class Episodes:
    """N imagined episodes under way; never changed in place."""

    imagination: Imagination  # the learned simulator's state
    decisions: np.ndarray  # (N,) taken since the start
    latched: np.ndarray  # (N,) bool, solved at any decision so far
    over: np.ndarray  # (N,) bool, the task has ended by itself

    def __len__(self) -> int:
        return len(self.decisions)

    def select(self, index: np.ndarray) -> Episodes:
        """The episodes named by ``index``, in that order."""
        counters = (self.decisions[index], self.latched[index], self.over[index])
        return Episodes(self.imagination.select(self._where(index)), *counters)

    def replaced(self, index: np.ndarray, part: Episodes) -> Episodes:
        """The same episodes, but those that ``index`` names, in rising order, are the ones of ``part``."""
        if len(index) == len(self):
            return part
        decisions, latched, over = self.decisions.copy(), self.latched.copy(), self.over.copy()
        decisions[index], latched[index], over[index] = part.decisions, part.latched, part.over
        return Episodes(self.imagination.replaced(self._where(index), part.imagination), decisions, latched, over)

    def to(self, device: torch.device) -> Episodes:
        """On another device."""
        return replace(self, imagination=self.imagination.to(device))

    def _where(self, index: np.ndarray) -> Tensor:
        return as_long(index.tolist(), self.imagination.seed.device)


@dataclass(frozen=True)
class Seen:
    """What N environments return: observations (N, ...), rewards (N,) float64, and an array (N, ...) per info key."""

    observation: np.ndarray
    reward: np.ndarray
    info: dict[str, np.ndarray]

    def put(self, index: np.ndarray, part: Seen) -> None:
        """Overwrite the environments named by ``index`` with those of ``part``."""
        self.observation[index] = part.observation
        self.reward[index] = part.reward
        for key, values in part.info.items():
            self.info[key][index] = values


@dataclass(frozen=True)
class ImaginedState:
    """Where N imagined episodes of one task stood. A value: nothing that is done with it changes it."""

    checkpoint: str  # hash of the checkpoint that imagined them
    task: str  # name of the task
    settings: Mapping[str, Any]  # what else their future depends on: sampler_steps, exact and memory
    episodes: Episodes  # the imagined episodes and their counters
    ended: np.ndarray  # (N,) bool, the episode was over, so a vector environment resets it next
    # state of each environment's own random generator, which draws the scenes of later episodes
    generators: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.episodes)

    def select(self, index: Sequence[int] | np.ndarray) -> ImaginedState:
        """The episodes named by ``index``, in that order; negative numbers count from the end."""
        chosen = np.arange(len(self))[np.asarray(index)]
        generators = tuple(self.generators[n] for n in chosen)
        return replace(self, episodes=self.episodes.select(chosen), ended=self.ended[chosen], generators=generators)

    def fork(self, copies: int) -> ImaginedState:
        """Each episode ``copies`` times, next to each other."""
        check_at_least_one(copies=copies)
        return self.select(np.arange(len(self)).repeat(copies))

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, as a whole or not at all. Raises UserError: it can't be written there."""
        episodes = self.episodes
        values = (episodes.decisions, episodes.latched, episodes.over, self.ended)
        counters = zip(_COUNTERS, values, strict=True)
        tensors = episodes.imagination.tensors() | {name: torch.from_numpy(values) for name, values in counters}
        tensors = {name: values.detach().to("cpu", copy=True).contiguous() for name, values in tensors.items()}
        header = json.dumps([self.checkpoint, self.task, dict(self.settings), [dict(one) for one in self.generators]])
        with atomic(path) as staged:
            save_file(tensors, staged, {"header": header})

    @classmethod
    def given(cls, state: ImaginedState | str | Path) -> ImaginedState:
        """The state itself, or what ``save`` wrote to a file, read onto the CPU. Raises UserError: no such file, or
        damaged, or a file of something else; it is neither."""
        if isinstance(state, cls):
            return state
        if not isinstance(state, (str, os.PathLike)):
            raise UserError(
                f"state is of type {type(state).__name__}, not ImaginedState; give what get_state() returned, or its "
                "file"
            )
        try:
            with safe_open(str(state), "pt") as file:
                checkpoint, task, settings, generators = json.loads((file.metadata() or {})["header"])
                # Copies, as numbers that begin anywhere in memory are rounded differently by some kernels.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
            *counters, ended = (tensors[name].numpy() for name in _COUNTERS)
            episodes = Episodes(Imagination.of_tensors(tensors), *counters)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UserError(f"state={str(state)!r} is missing or damaged ({reason(error)}); save it again") from error
        return cls(checkpoint, task, settings, episodes, ended, tuple(generators))

    def check_fits(self, checkpoint: str, task: str, settings: Mapping[str, Any], count: int) -> None:
        """Refuse environments in which it would go on otherwise. Raises UserError: another checkpoint or task, other
        settings, or another number of episodes."""
        theirs = {"checkpoint": self.checkpoint, "task": self.task, **self.settings, "number of episodes": len(self)}
        own = {"checkpoint": checkpoint, "task": task, **settings, "number of episodes": count}
        for name, ours in own.items():
            if theirs[name] != ours:
                raise UserError(
                    f"state of {name} {theirs[name]!r} doesn't fit this environment's {name} {ours!r}; "
                    "set it in an environment like the one it was taken from"
                )
