"""Stable-Baselines3 policies from zip files as agents: they act on real frames, seen in the mode they were trained in.

A zip holds pickled objects: open only files that you trust.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.lanes import Lanes
from sfvgen_plan.agents.registry import POLICY_PREFIX as PREFIX
from sfvgen_plan.envs.observation import PAIR, Observer, observation_space
from sfvgen_plan.envs.twin import OBS_MODES
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import Checkpoint

ORIGIN = "sfvgen_plan"
"""Attribute of a model that was trained in imagination: checkpoint hash, task and observation mode, as a dict."""

_TELLTALES = {
    "PPO": "clip_range",
    "DQN": "exploration_fraction",
    "SAC": "target_entropy",
    "TD3": "policy_delay",  # DDPG, too, which acts in the same way
    "A2C": "normalize_advantage",
}
"""Algorithms of Stable-Baselines3, and a hyperparameter that only it has among those that are left."""


def load_policy(path: str | Path, device: str = "cpu") -> Any:
    """The model in a zip written by ``save`` of any of Stable-Baselines3's algorithms.

    Raises:
        UserError: no such file, a file of something else, or the package is missing.
    """
    try:
        import stable_baselines3
    except ImportError as error:
        raise UserError(f"agent='{PREFIX}{path}' needs pip install stable-baselines3 ({error})") from error
    try:
        with zipfile.ZipFile(path) as archive:
            names = json.loads(archive.read("data")).keys()
        algorithm = next(name for name, telltale in _TELLTALES.items() if telltale in names)
        return getattr(stable_baselines3, algorithm).load(path, device=device)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"agent='{PREFIX}{path}' can't be read ({error}); give a zip saved by an algorithm") from error
    except StopIteration:
        raise UserError(
            f"agent='{PREFIX}{path}' is of no algorithm known here ({', '.join(_TELLTALES)}); write a module:factory"
        ) from None
    except Exception as error:  # whatever unpickling runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"agent='{PREFIX}{path}' is damaged or of another version ({reason}); save it again") from error


def obs_mode_of(model: Any, checkpoint: Checkpoint | None, named: str) -> str:
    """Which observation mode the model was trained in, told by its observation space.

    Args:
        checkpoint: whose latents and read-outs they may be; None: only whether it is pixels, else "".
        named: how errors call the model.

    Raises:
        UserError: the space is that of no mode.
    """
    space = model.observation_space
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8:
        return "pixels"
    if checkpoint is None:
        return ""
    spaces = {mode: observation_space(checkpoint, mode) for mode in OBS_MODES}
    for mode, known in spaces.items():
        if isinstance(space, gym.spaces.Box) and space.shape == known.shape:
            return mode
    shapes = ", ".join(f"{mode} {known.shape}" for mode, known in spaces.items())
    raise UserError(f"{named} was trained on observations {space}, the checkpoint's are {shapes}; give its checkpoint")


class PolicyAgent:
    """Plays a Stable-Baselines3 model without exploration (a ``BatchAgent``).

    Args:
        model: what ``load_policy`` returns.
        checkpoint: what computes latents and read-outs; not needed for pixels.
        action_dim: A of the environment.
        named: how errors call the model.

    Raises:
        UserError: another action or observation space, or a model that was trained in another checkpoint.
    """

    def __init__(self, model: Any, checkpoint: Checkpoint | None, action_dim: int = 4, named: str = "model") -> None:
        wanted = gym.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        if model.action_space != wanted:
            raise UserError(
                f"agent={named!r} was trained for actions {model.action_space}, the environment's are {wanted}; "
                "train it for these"
            )
        self.model, self.named = model, named
        self.obs_mode = obs_mode_of(model, checkpoint, f"agent={named!r}")
        self._observer: Observer | None = None
        if self.obs_mode not in ("", "pixels"):
            assert checkpoint is not None
            _check_origin(model, checkpoint, named)
            self._observer = Observer(checkpoint.simulator(), self.obs_mode)
        elif not self.obs_mode:
            raise UserError(f"agent={named!r} sees frames through a checkpoint; give it with --checkpoint")
        self.lanes = Lanes(history=PAIR)

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``."""
        self.lanes.reset(lanes, tasks, seeds)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Newest frames (E, H, W, 3) uint8 -> actions (E, A) in [-1, 1]."""
        started = time.perf_counter()
        observed = self.lanes.observe(lanes, frames)
        actions, _ = self.model.predict(self._observe(frames, observed), deterministic=True)
        clipped = np.asarray(actions, np.float32).clip(-1.0, 1.0)
        seconds = (time.perf_counter() - started) / len(observed)
        for lane, action in zip(observed, clipped, strict=True):
            lane.played(action)
            lane.charge(seconds, 0, 0)
        return clipped

    def stats(self, lane: int) -> PlanCost:
        """Cost of the lane's current episode: time only."""
        return self.lanes[lane].cost

    def _observe(self, frames: np.ndarray, observed: Sequence[Any]) -> np.ndarray:
        if self._observer is not None:
            pairs = np.stack([lane.context(PAIR) for lane in observed])
            return self._observer.of_real(pairs, [lane.task for lane in observed])
        shape, given = self.model.observation_space.shape, frames.shape[1:]
        if given not in (shape, (*shape[1:], shape[0])):  # they store images with the channels first
            raise UserError(f"agent={self.named!r} was trained on frames {shape}, the environment's are {given}")
        return frames


def build_policy(name: str, checkpoint: Any, device: str, settings: dict[str, Any], action_dim: int = 4) -> PolicyAgent:
    """The agent that ``sb3:path.zip`` names.

    Raises:
        UserError: see ``load_policy`` and ``PolicyAgent``, or a setting, as it has none.
    """
    if settings:
        raise UserError(f"agent={name!r} has no settings, but agent.{next(iter(settings))} was given; leave it out")
    model = load_policy(name.removeprefix(PREFIX), "cpu")  # small networks: a GPU would only wait for itself
    if obs_mode_of(model, None, name) != "pixels" and not isinstance(checkpoint, Checkpoint):
        from sfvgen_plan.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(checkpoint, device)
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else None
    return PolicyAgent(model, loaded, loaded.card.action_dim if loaded else action_dim, name)


def needs_checkpoint(name: str) -> bool:
    """Whether the model that ``sb3:path.zip`` names sees frames through a checkpoint."""
    return obs_mode_of(load_policy(name.removeprefix(PREFIX), "cpu"), None, name) != "pixels"


def _check_origin(model: Any, checkpoint: Checkpoint, named: str) -> None:
    trained_in = getattr(model, ORIGIN, {}).get("checkpoint")
    if trained_in and trained_in != checkpoint.hash:
        raise UserError(
            f"agent={named!r} was trained in checkpoint {trained_in}, not in {checkpoint.hash} ({checkpoint.path}); "
            "give its own with --checkpoint"
        )
