"""States of a training run on disk: one that was killed goes on from the newest as if nothing had happened."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecMonitor

from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic

LARGEST_SHARE = 0.1
"""Of the time that may go into saving; with large replay buffers, states are saved less often than wished."""

COUNTERS = ("episode_returns", "episode_lengths", "episode_count")
"""What Stable-Baselines3's monitor knows of the episodes under way."""

_MODEL, _EPISODES, _REST = "model.zip", "episodes.safetensors", "rest.pt"


class SavedStates:
    """The states of one training run in a folder of their own. While it is there, the run is unfinished.

    A state is a folder named after the decisions taken so far. It appears as a whole or not at all, and the one before
    is kept until then, so a kill at any moment leaves one that is complete. States hold pickled objects, as all models
    of Stable-Baselines3 do: open only those that you trust.

    Args:
        folder: theirs alone.
        every: decisions between two states; 0 saves none.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self._last, self._rest_until = 0, 0.0

    def begin(self) -> None:
        """Mark the run as unfinished."""
        if self.every:
            self.folder.mkdir(parents=True, exist_ok=True)

    def newest(self) -> Path | None:
        """The newest state, or None."""
        found = [path for path in self.folder.glob("[0-9]*") if path.name.isdecimal()]
        return max(found, key=lambda path: int(path.name), default=None)

    def save_if_due(self, model: BaseAlgorithm, environment: VecMonitor) -> None:
        """Save a state if enough decisions were taken since the last, and saving doesn't take too much of the time.

        Call it between two rollouts: what a rollout has collected so far is not part of a state.
        """
        due = self.every and model.num_timesteps - self._last >= self.every
        if not due or time.monotonic() < self._rest_until:
            return
        started = time.monotonic()
        self.save(model, environment)
        ended = time.monotonic()
        self._rest_until = ended + (ended - started) * (1 / LARGEST_SHARE - 1)

    def save(self, model: BaseAlgorithm, environment: VecMonitor) -> None:
        """Save a state and remove the ones before."""
        target = self.folder / str(model.num_timesteps)
        with atomic(target, "out") as staged:
            staged.mkdir()
            model.save(staged / _MODEL)
            _vector(environment).get_state().save(staged / _EPISODES)
            torch.save(_rest(model, environment), staged / _REST)
        for path in self.folder.iterdir():
            if path != target:
                shutil.rmtree(path, ignore_errors=True)
        self._last = model.num_timesteps

    def load(self, algorithm: type[BaseAlgorithm], environment: VecMonitor, device: str) -> Any:
        """The model of the newest state, with ``environment`` and the process's random numbers as they were.

        Raises:
            UserError: it can't be read.
        """
        state = self.newest()
        assert state is not None, "no state"
        try:
            # Without the reset of the environment that it would begin with otherwise.
            model = algorithm.load(state / _MODEL, environment, device=device, force_reset=False)
            _vector(environment).set_state(state / _EPISODES)
            _restore(torch.load(state / _REST, weights_only=False), model, environment)
        except Exception as error:  # whatever unpickling runs into
            raise UserError(
                f"state={str(state)!r} is damaged or of another version ({reason(error)}); remove "
                f"{str(self.folder)!r} to train from the beginning"
            ) from error
        self._last = model.num_timesteps
        return model

    def finish(self) -> None:
        """Remove all states: the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _vector(environment: VecMonitor) -> ImaginedVectorEnv:
    return environment.venv.env


def _rest(model: Any, environment: VecMonitor) -> dict[str, Any]:
    """Random states, counters of the episodes under way, and what is filled of a replay buffer."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if model.device.type == "cuda" else None,
        "numpy": np.random.get_state(),
        "actions": model.action_space.np_random.bit_generator.state,
        "monitor": {name: getattr(environment, name) for name in COUNTERS},
        "replay": _replay(model),
    }


def _restore(rest: Mapping[str, Any], model: Any, environment: VecMonitor) -> None:
    """Undo ``_rest``."""
    for name, value in rest["monitor"].items():
        setattr(environment, name, value)
    model.action_space.np_random.bit_generator.state = rest["actions"]
    torch.set_rng_state(rest["torch"])
    if rest["cuda"] is not None and model.device.type == "cuda":
        torch.cuda.set_rng_state_all(rest["cuda"])
    np.random.set_state(rest["numpy"])
    for name, value in rest["replay"].items():
        if isinstance(value, np.ndarray):
            getattr(model.replay_buffer, name)[: len(value)] = value
        else:
            setattr(model.replay_buffer, name, value)


def _replay(model: Any) -> dict[str, Any]:
    """What a replay buffer stores for each step, as far as it is filled; empty where the algorithm has none."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return {}
    rows = (buffer.buffer_size,)
    steps = {name: of for name, of in vars(buffer).items() if isinstance(of, np.ndarray) and of.shape[:1] == rows}
    return {"pos": buffer.pos, "full": buffer.full} | {name: of[: buffer.size()] for name, of in steps.items()}
