"""Snapshots of imagined episodes, counters and random states included, in memory or in one safetensors file."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfvgen_plan.envs.batch import Episodes, ImaginedBatch
from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.io import atomic

FORMAT = "sfvgen-plan imagined state 5"
_COUNTERS = ("decisions", "latched", "over", "ended")


@dataclass(frozen=True)
class ImaginedState:
    """Where N imagined episodes of one task stood. A value: nothing that is done with it changes it.

    Attributes:
        checkpoint: hash of the checkpoint that imagined them.
        task: name of the task.
        settings: what else their future depends on: ``sampler_steps``, ``exact`` and ``memory``.
        episodes: the imagined episodes and their counters.
        ended: (N,) bool, the episode was over, so a vector environment resets it next.
        generators: state of each environment's own random generator, which draws the scenes of later episodes.
    """

    checkpoint: str
    task: str
    settings: Mapping[str, Any]
    episodes: Episodes
    ended: np.ndarray
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
        """Write one safetensors file; a file of that name is replaced, as a whole or not at all.

        Raises:
            UserError: it can't be written there.
        """
        episodes = self.episodes
        values = (episodes.decisions, episodes.latched, episodes.over, self.ended)
        counters = zip(_COUNTERS, values, strict=True)
        tensors = episodes.imagination.tensors() | {name: torch.from_numpy(values) for name, values in counters}
        tensors = {name: values.detach().to("cpu", copy=True).contiguous() for name, values in tensors.items()}
        header = json.dumps([self.checkpoint, self.task, dict(self.settings), [dict(one) for one in self.generators]])
        with atomic(path) as staged:
            save_file(tensors, staged, {"format": FORMAT, "header": header, "digest": _digest(tensors, header)})

    @classmethod
    def load(cls, path: str | Path) -> ImaginedState:
        """Read what ``save`` wrote, onto the CPU; environments move it to where they compute.

        Raises:
            UserError: no such file, or damaged, or a file of something else.
        """
        try:
            with safe_open(str(path), "pt") as file:
                metadata = file.metadata() or {}
                # Copies, as numbers that begin anywhere in memory are rounded differently by some kernels.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - no mapping
            if metadata.get("format") != FORMAT:
                raise UserError(f"state={str(path)!r} holds no imagined state of this version; save it again with it")
            if metadata["digest"] != _digest(tensors, metadata["header"]):
                raise ValueError("its content doesn't match its checksum")
            checkpoint, task, settings, generators = json.loads(metadata["header"])
            *counters, ended = (tensors[name].numpy() for name in _COUNTERS)
            episodes = Episodes(Imagination.of_tensors(tensors), *counters)
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UserError(f"state={str(path)!r} is missing or damaged ({reason(error)}); save it again") from error
        return cls(checkpoint, task, settings, episodes, ended, tuple(generators))


def captured(
    batch: ImaginedBatch, episodes: Episodes, ended: np.ndarray, generators: Sequence[np.random.Generator]
) -> ImaginedState:
    """The state of environments that stand at ``episodes``."""
    states = tuple(copy.deepcopy(generator.bit_generator.state) for generator in generators)
    return ImaginedState(batch.checkpoint.hash, batch.task, _settings(batch), episodes, ended.copy(), states)


def restored(
    state: ImaginedState | str | Path, batch: ImaginedBatch, count: int
) -> tuple[Episodes, np.ndarray, list[np.random.Generator]]:
    """Episodes on the device of ``batch``, which have ended, and new generators, for ``count`` environments.

    Raises:
        UserError: a state of another checkpoint or task, of other settings or another number of episodes, or a damaged
            file.
    """
    if isinstance(state, (str, os.PathLike)):
        state = ImaginedState.load(state)
    if not isinstance(state, ImaginedState):
        raise UserError(
            f"state is of type {type(state).__name__}, not ImaginedState; give what get_state() returned, or its file"
        )
    theirs = {"checkpoint": state.checkpoint, "task": state.task, **state.settings, "number of episodes": len(state)}
    own = {"checkpoint": batch.checkpoint.hash, "task": batch.task, **_settings(batch), "number of episodes": count}
    for name, ours in own.items():
        if theirs[name] != ours:
            raise UserError(
                f"state of {name} {theirs[name]!r} doesn't fit this environment's {name} {ours!r}; "
                "set it in an environment like the one it was taken from"
            )
    generators = []
    for saved in state.generators:
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = copy.deepcopy(dict(saved))
        generators.append(generator)
    episodes = replace(state.episodes, imagination=state.episodes.imagination.to(batch.simulator.device))
    return episodes, state.ended.copy(), generators


class _Forkable(Protocol):
    def get_state(self) -> ImaginedState: ...

    def set_state(self, state: ImaginedState, /) -> Any: ...


Env = TypeVar("Env", bound=_Forkable)


def fork_of(env: Env, copies: int, spaces: Sequence[str]) -> list[Env]:
    """``copies`` of an environment that go on from its state independently and share all but their ``spaces``.

    Raises:
        UserError: ``copies`` below 1.
    """
    check_at_least_one(n=copies)
    state = env.get_state()
    forks = []
    for _ in range(copies):
        fork = copy.copy(env)
        for name in spaces:
            setattr(fork, name, copy.deepcopy(getattr(env, name)))
        fork.set_state(state)
        forks.append(fork)
    return forks


def _settings(batch: ImaginedBatch) -> dict[str, Any]:
    """``ImaginedState.settings`` of its episodes."""
    simulator = batch.simulator
    return {
        "sampler_steps": int(simulator.sampler_steps),
        "exact": bool(simulator.exact),
        "memory": bool(simulator.memory),
    }


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.contiguous().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()
