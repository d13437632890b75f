"""States of a training run on disk: one that was killed goes on from the newest as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecMonitor

from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.nested import flat

LARGEST_SHARE = 0.1
"""Of the time that may go into saving; with large replay buffers, states are saved less often than wished."""

COUNTERS = ("episode_returns", "episode_lengths", "episode_count")
"""What Stable-Baselines3's monitor knows of the episodes under way."""

_MADE, _MODEL, _EPISODES, _REPLAY, _REST = "made.json", "model.zip", "episodes.safetensors", "replay", "rest.pt"


class SavedStates:
    """The states of one training run in a folder of their own. While it is there, the run is unfinished.

    A state is a folder named after the decisions imagined so far. It appears as a whole or not at all, and the one
    before is kept until then, so a kill at any moment leaves one that is complete. States hold pickled objects, as all
    models of Stable-Baselines3 do: open only those that you trust.

    Args:
        folder: theirs alone.
        made: what is trained, and how, as JSON values; a run goes on only with the same.
        every: decisions between two states; 0 saves none.

    Raises:
        UserError: the folder holds states of something else.
    """

    def __init__(self, folder: Path, made: Mapping[str, Any], every: int) -> None:
        self.folder, self.every = folder, every
        self._made: dict[str, Any] = json.loads(json.dumps(made))
        self._last, self._rest_until = 0, 0.0
        self._check_made()

    def begin(self) -> None:
        """Mark the run as unfinished, and note what it trains."""
        if self.every and not (self.folder / _MADE).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            staged = self.folder / f".{_MADE}"
            staged.write_text(json.dumps(self._made, indent=1) + "\n")
            os.replace(staged, self.folder / _MADE)

    def newest(self) -> Path | None:
        """The newest state, or None."""
        found = [path for path in self.folder.glob("[0-9]*") if path.name.isdecimal()]
        return max(found, key=lambda path: int(path.name), default=None)

    def save_if_due(self, model: BaseAlgorithm, environment: VecMonitor, notes: Mapping[str, Any]) -> None:
        """Save a state if enough decisions were imagined since the last, and saving doesn't take too much of the time.

        Call it between two rollouts: what a rollout has collected so far is not part of a state.

        Args:
            notes: more to be kept, as plain values.
        """
        due = self.every and model.num_timesteps - self._last >= self.every
        if not due or time.monotonic() < self._rest_until:
            return
        started = time.monotonic()
        self.save(model, environment, notes)
        ended = time.monotonic()
        self._rest_until = ended + (ended - started) * (1 / LARGEST_SHARE - 1)

    def save(self, model: BaseAlgorithm, environment: VecMonitor, notes: Mapping[str, Any]) -> None:
        """Save a state and remove the ones before."""
        target = self.folder / str(model.num_timesteps)
        before = [path for path in self.folder.iterdir() if path.is_dir() and path != target]
        staged = Path(tempfile.mkdtemp(dir=self.folder, prefix=".saving-"))
        try:
            model.save(staged / _MODEL)
            _vector(environment).get_state().save(staged / _EPISODES)
            _save_replay(model, staged / _REPLAY)
            torch.save(_rest(model, environment, notes), staged / _REST)
            if target.exists():
                shutil.rmtree(target)
            os.replace(staged, target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        for path in before:
            shutil.rmtree(path, ignore_errors=True)
        self._last = model.num_timesteps

    def load(self, algorithm: type[BaseAlgorithm], environment: VecMonitor, device: str) -> tuple[Any, dict[str, Any]]:
        """The model of the newest state with ``environment`` and the process's random numbers as they were, and the
        notes.

        Raises:
            UserError: it can't be read.
        """
        state = self.newest()
        assert state is not None, "no state"
        try:
            # Without the reset of the environment that it would begin with otherwise.
            model = algorithm.load(state / _MODEL, environment, device=device, force_reset=False)
            _vector(environment).set_state(state / _EPISODES)
            _load_replay(model, state / _REPLAY)
            notes = _restore(torch.load(state / _REST, weights_only=False), model, environment)
        except Exception as error:  # whatever unpickling runs into
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"state={str(state)!r} is damaged or of another version ({reason}); remove {str(self.folder)!r} "
                "to train from the beginning"
            ) from error
        self._last = model.num_timesteps
        return model, notes

    def finish(self) -> None:
        """Remove all states: the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_made(self) -> None:
        file = self.folder / _MADE
        if not file.exists():
            return
        try:
            theirs = flat(json.loads(file.read_text()))
        except (ValueError, AttributeError) as error:
            raise UserError(f"state={str(file)!r} is damaged ({error}); remove {str(self.folder)!r}") from error
        ours = flat(self._made)
        for name in [*ours, *theirs]:
            if theirs.get(name) != ours.get(name):
                raise UserError(
                    f"{name}={ours.get(name)!r}, but the unfinished training in {str(self.folder)!r} has "
                    f"{theirs.get(name)!r}; give that, another folder, or remove this one"
                )


def _vector(environment: VecMonitor) -> ImaginedVectorEnv:
    return environment.venv.env


def _rest(model: BaseAlgorithm, environment: VecMonitor, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Random states, and the counters of the episodes under way."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if model.device.type == "cuda" else None,
        "numpy": np.random.get_state(),
        "actions": model.action_space.np_random.bit_generator.state,
        "monitor": {name: getattr(environment, name) for name in COUNTERS},
        "notes": dict(notes),
    }


def _restore(rest: Mapping[str, Any], model: BaseAlgorithm, environment: VecMonitor) -> dict[str, Any]:
    """Undo ``_rest``; the notes."""
    for name, value in rest["monitor"].items():
        setattr(environment, name, value)
    model.action_space.np_random.bit_generator.state = rest["actions"]
    torch.set_rng_state(rest["torch"])
    if rest["cuda"] is not None and model.device.type == "cuda":
        torch.cuda.set_rng_state_all(rest["cuda"])
    np.random.set_state(rest["numpy"])
    return rest["notes"]


def _save_replay(model: Any, folder: Path) -> None:
    """The filled part of the replay buffer, where the algorithm has one."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return
    folder.mkdir()
    filled = buffer.buffer_size if buffer.full else buffer.pos
    for name, array in _arrays(buffer):
        np.save(folder / name, array[:filled])
    (folder / "place.json").write_text(json.dumps({"pos": buffer.pos, "full": bool(buffer.full)}))


def _load_replay(model: Any, folder: Path) -> None:
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return
    for name, array in _arrays(buffer):
        saved = np.load(folder / f"{name}.npy", mmap_mode="r")
        array[: len(saved)] = saved
    place = json.loads((folder / "place.json").read_text())
    buffer.pos, buffer.full = place["pos"], place["full"]


def _arrays(buffer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """What a replay buffer stores for each step."""
    for name, value in vars(buffer).items():
        if isinstance(value, np.ndarray) and value.ndim and len(value) == buffer.buffer_size:
            yield name, value
