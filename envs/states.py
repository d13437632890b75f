"""Snapshots of imagined episodes: context, memory, random state and counters, in memory or in one safetensors file."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfvgen_plan.anchors import Anchor
from sfvgen_plan.envs.batch import Episodes, ImaginedBatch
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic
from sfvgen_plan.memory.weights import Memory
from sfvgen_plan.simulator import Imagination

KIND, VERSION = "sfvgen-plan imagined state", 3
FORMAT = f"{KIND} {VERSION}"
_IMAGINED, _TRACK = ("context", "task", "seed", "step"), "track"
_ANCHORED = tuple(field.name for field in fields(Anchor))
_COUNTERS = ("lengths", "decisions", "latched")


@dataclass(frozen=True)
class ImaginedState:
    """Where N imagined episodes of one task stood. A value: nothing that is done with it changes it.

    Attributes:
        checkpoint: hash of the checkpoint that imagined them.
        task: name of the task.
        memory: hyperparameters of fast learning as JSON values, or None for episodes without memory.
        settings: what else their future depends on: ``sampler_steps``, ``futures``, ``exact``, and with memory
            ``memory_every``, else None.
        episodes: context, memory, random state of the noise, counters.
        ended: (N,) bool, the episode was over, so a vector environment resets it next.
        generators: state of each environment's own random generator, which draws the scenes of later episodes.
    """

    checkpoint: str
    task: str
    memory: Mapping[str, Any] | None
    settings: Mapping[str, Any]
    episodes: Episodes
    ended: np.ndarray
    generators: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def anchor_every(self) -> int:
        """Decisions that are imagined from the same clean frames."""
        anchor = self.episodes.imagination.anchor
        return 1 if anchor is None else anchor.actions.shape[1]

    def select(self, index: Sequence[int] | np.ndarray) -> ImaginedState:
        """The episodes named by ``index``, in that order; negative numbers count from the end.

        Raises:
            UserError: anything but numbers of episodes.
        """
        chosen = _checked_index(index, len(self))
        generators = tuple(self.generators[n] for n in chosen)
        return replace(self, episodes=self.episodes.select(chosen), ended=self.ended[chosen], generators=generators)

    def fork(self, copies: int) -> ImaginedState:
        """Each episode ``copies`` times, next to each other."""
        _check_copies(copies)
        return self.select(np.arange(len(self)).repeat(copies))

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; a file of that name is replaced, as a whole or not at all.

        Raises:
            UserError: it can't be written there.
        """
        tensors, header = _packed(self)
        text = json.dumps(header)
        with atomic(path) as staged:
            save_file(tensors, staged, {"format": FORMAT, "header": text, "digest": _digest(tensors, text)})

    @classmethod
    def load(cls, path: str | Path) -> ImaginedState:
        """Read what ``save`` wrote, onto the CPU; environments move it to where they compute.

        Raises:
            UserError: no such file, or damaged, or a file of something else.
        """
        try:
            with safe_open(str(path), "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            _check_format(path, metadata.get("format", ""))
            if metadata["digest"] != _digest(tensors, metadata["header"]):
                raise ValueError("its content doesn't match its checksum")
            return _unpacked(tensors, json.loads(metadata["header"]))
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
            raise UserError(f"state={str(path)!r} is missing or damaged ({reason(error)}); save it again") from error


def captured(
    batch: ImaginedBatch, episodes: Episodes, ended: np.ndarray, generators: Sequence[np.random.Generator]
) -> ImaginedState:
    """The state of environments that stand at ``episodes``."""
    states = tuple(copy.deepcopy(generator.bit_generator.state) for generator in generators)
    learning, settings = _learning(batch), _settings(batch)
    return ImaginedState(batch.checkpoint.hash, batch.task, learning, settings, episodes, ended.copy(), states)


def restored(
    state: ImaginedState | str | Path, batch: ImaginedBatch, count: int
) -> tuple[Episodes, np.ndarray, list[np.random.Generator]]:
    """Episodes on the device of ``batch``, which have ended, and new generators, for ``count`` environments.

    Raises:
        UserError: a state of another checkpoint, task, memory, ``anchor_every``, of other settings or another number of
            episodes, or a damaged file.
    """
    if isinstance(state, (str, os.PathLike)):
        state = ImaginedState.load(state)
    if not isinstance(state, ImaginedState):
        raise UserError(
            f"state is of type {type(state).__name__}, not ImaginedState; give what get_state() returned, or its file"
        )
    _check_origin(state, batch)
    for name, own in _settings(batch).items():
        if state.settings[name] != own:
            raise _misfit(name, state.settings[name], own)
    if len(state) != count:
        raise _misfit("number of episodes", len(state), count)
    generators = []
    for saved in state.generators:
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = copy.deepcopy(dict(saved))
        generators.append(generator)
    return _moved(state.episodes, batch.simulator.device), state.ended.copy(), generators


class _Forkable(Protocol):
    def get_state(self) -> ImaginedState: ...

    def set_state(self, state: ImaginedState, /) -> Any: ...


Env = TypeVar("Env", bound=_Forkable)


def fork_of(env: Env, copies: int, spaces: Sequence[str]) -> list[Env]:
    """``copies`` of an environment that go on from its state independently and share all but their ``spaces``.

    Raises:
        UserError: ``copies`` below 1.
    """
    state = env.get_state()
    _check_copies(copies)
    forks = []
    for _ in range(copies):
        fork = copy.copy(env)
        for name in spaces:
            setattr(fork, name, copy.deepcopy(getattr(env, name)))
        fork.set_state(state)
        forks.append(fork)
    return forks


def _check_origin(state: ImaginedState, batch: ImaginedBatch) -> None:
    """Refuse a state of another checkpoint, task, memory or ``anchor_every`` than the environment's."""
    own = {
        "checkpoint": batch.checkpoint.hash,
        "task": batch.task,
        "memory": _learning(batch),
        "anchor_every": batch.simulator.anchor_every,
    }
    for name, ours in own.items():
        if getattr(state, name) != ours:
            raise _misfit(name, getattr(state, name), ours)


def _check_format(path: str | Path, found: str) -> None:
    """Refuse a file of something else, or one that another version wrote."""
    if found == FORMAT:
        return
    kind, _, version = found.rpartition(" ")
    if kind != KIND:
        raise UserError(f"state={str(path)!r} holds no imagined state; give a file written by ImaginedState.save")
    raise UserError(
        f"state={str(path)!r} is of format {version}, and this version of sfvgen-plan reads format {VERSION}; save it "
        "again with this version"
    )


def _misfit(name: str, theirs: Any, ours: Any) -> UserError:
    return UserError(
        f"state of {name} {theirs!r} doesn't fit this environment's {name} {ours!r}; "
        "set it in an environment like the one it was taken from"
    )


def _check_copies(copies: int) -> None:
    if isinstance(copies, bool) or not isinstance(copies, (int, np.integer)):
        raise UserError(f"n={copies!r} is no whole number of forks; give 1 or more")
    if copies < 1:
        raise UserError(f"n={copies} forks make no sense; give 1 or more")


def _checked_index(index: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    chosen = np.asarray(index)
    if chosen.ndim != 1 or (chosen.size and not np.issubdtype(chosen.dtype, np.integer)):
        raise UserError(f"index={index!r} is no list of whole numbers; give those of the episodes to select")
    outside = chosen[(chosen < -count) | (chosen >= count)]
    if outside.size:
        raise UserError(f"index={outside[0]} is out of range; the state holds {count} episodes, give 0 to {count - 1}")
    return chosen.astype(np.int64)


def _learning(batch: ImaginedBatch) -> dict[str, Any] | None:
    """Hyperparameters of fast learning as JSON has them."""
    return json.loads(json.dumps(asdict(batch.memory))) if batch.memory is not None else None


def _settings(batch: ImaginedBatch) -> dict[str, Any]:
    """``ImaginedState.settings`` of its episodes."""
    return {
        "sampler_steps": int(batch.simulator.sampler_steps),
        "futures": int(batch.futures),
        "exact": bool(batch.simulator.exact),
        "memory_every": int(batch.memory_every) if batch.memory is not None else None,
    }


def _moved(episodes: Episodes, device: torch.device) -> Episodes:
    state = episodes.imagination
    memory = state.memory
    if memory is not None:
        memory = Memory(
            {k: v.to(device) for k, v in memory.down.items()},
            {k: v.to(device) for k, v in memory.up.items()},
            {k: (a.to(device), b.to(device)) for k, (a, b) in memory.moments.items()},
            memory.steps.to(device),
            memory.owner.to(device),
            memory.scale,
        )
    moved = {name: values.to(device) for name, values in _imagined(state).items()}
    anchor = state.anchor.to(device) if state.anchor is not None else None
    return replace(episodes, imagination=Imagination(**moved, memory=memory, anchor=anchor))


def _imagined(state: Imagination) -> dict[str, Tensor]:
    """Its own tensors by name."""
    tensors = {name: getattr(state, name) for name in _IMAGINED}
    return tensors if state.track is None else {**tensors, _TRACK: state.track}


def _packed(state: ImaginedState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the rest as JSON values."""
    episodes, imagined = state.episodes, state.episodes.imagination
    tensors = _imagined(imagined)
    tensors |= {name: torch.from_numpy(np.asarray(getattr(episodes, name))) for name in _COUNTERS}
    tensors["ended"] = torch.from_numpy(state.ended)
    if imagined.anchor is not None:
        tensors |= {f"anchor.{name}": getattr(imagined.anchor, name) for name in _ANCHORED}
    memory = imagined.memory
    if memory is not None:
        used, owner = memory.owner.unique(return_inverse=True)  # forks share one; others' are left out
        tensors |= {"memory.owner": owner, "memory.steps": memory.steps[used]}
        for part in ("down", "up"):
            tensors |= {f"memory.{part}.{layer}": v[used] for layer, v in getattr(memory, part).items()}
        for name, moments in memory.moments.items():
            for order, moment in zip(("first", "second"), moments, strict=True):
                tensors[f"memory.{order}.{name}"] = moment[used]
    header = {
        "checkpoint": state.checkpoint,
        "task": state.task,
        "memory": state.memory,
        "settings": dict(state.settings),
        "scale": memory.scale if memory is not None else None,
        "generators": [dict(generator) for generator in state.generators],
    }
    return {name: v.detach().to("cpu", copy=True).contiguous() for name, v in tensors.items()}, header


def _unpacked(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> ImaginedState:
    memory = None
    if header["memory"] is not None:

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"memory.{name}."
            return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}

        first, second = part("first"), part("second")
        moments = {name: (first[name], second[name]) for name in first}
        memory = Memory(
            part("down"), part("up"), moments, tensors["memory.steps"], tensors["memory.owner"], header["scale"]
        )
    anchor = None
    if f"anchor.{_ANCHORED[0]}" in tensors:
        anchor = Anchor(**{name: tensors[f"anchor.{name}"] for name in _ANCHORED})
    own = {name: tensors[name] for name in (*_IMAGINED, _TRACK) if name in tensors}
    imagined = Imagination(**own, memory=memory, anchor=anchor)
    episodes = Episodes(imagined, *(tensors[name].numpy() for name in _COUNTERS))
    return ImaginedState(
        header["checkpoint"],
        header["task"],
        header["memory"],
        header["settings"],
        episodes,
        tensors["ended"].numpy(),
        tuple(header["generators"]),
    )


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.contiguous().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()
