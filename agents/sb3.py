"""Stable-Baselines3 policies from zip files as agents: they act on real frames, seen in the mode they were trained in.

A zip holds pickled objects: open only files that you trust.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.adapters import PredictingAgent
from sfvgen_plan.agents.base import Given
from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.agents.registry import POLICY_PREFIX as PREFIX
from sfvgen_plan.agents.sub_goals import rule_of
from sfvgen_plan.envs.memory.sub_goals import ALWAYS
from sfvgen_plan.envs.observation import Observer, observation_space
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.model.checkpoint import Checkpoint

ORIGIN = "sfvgen_plan"
"""Attribute of a model that was trained in imagination: checkpoint hash, task, observation mode and memory."""

_TELLTALES = {
    "TRPO": "cg_max_steps",
    "PPO": "clip_range",
    "DQN": "exploration_fraction",
    "SAC": "target_entropy",
    "TD3": "policy_delay",  # DDPG, too, which acts in the same way
    "A2C": "normalize_advantage",
}
"""Algorithms, and a hyperparameter that only this one has among those that are left."""

_CONTRIBUTED = {"sb3_contrib.common.recurrent.policies": "RecurrentPPO", "sb3_contrib.tqc.policies": "TQC"}
"""Modules of policies of sb3-contrib that belong to one algorithm."""


def load_policy(path: str | Path) -> Any:
    """The model in a zip written by ``save`` of an algorithm of Stable-Baselines3 or sb3-contrib, on the CPU: a GPU
    would only wait for such small networks.

    Raises:
        UserError: no such file, a file of something else, an algorithm that is not known here, or a missing package.
    """
    package = "stable_baselines3"
    try:
        with zipfile.ZipFile(path) as archive:
            algorithm = _algorithm(json.loads(archive.read("data")))
        if algorithm in ("TRPO", *_CONTRIBUTED.values()):
            package = "sb3_contrib"
        loader = getattr(import_module(package), algorithm)
    except ImportError as error:
        raise UserError(f"agent='{PREFIX}{path}' needs pip install {package.replace('_', '-')} ({error})") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"agent='{PREFIX}{path}' can't be read ({error}); give a zip saved by an algorithm") from error
    except (AttributeError, KeyError, LookupError, ValueError) as error:
        known = ", ".join((*_TELLTALES, *_CONTRIBUTED.values()))
        raise UserError(
            f"agent='{PREFIX}{path}' is of no algorithm known here ({known}); write a module:factory"
        ) from error
    try:
        return loader.load(path, device="cpu")
    except Exception as error:  # whatever unpickling runs into
        raise UserError(
            f"agent='{PREFIX}{path}' is damaged or of another version ({reason(error)}); save it again"
        ) from error


def _algorithm(data: dict[str, Any]) -> str:
    """The algorithm that saved a zip with this ``data``. A policy may be the user's own, but sb3-contrib's have their
    own way to act."""
    module = data.get("policy_class", {}).get("__module__", "")
    if module.startswith("sb3_contrib."):
        return _CONTRIBUTED[module]
    return next((name for name, telltale in _TELLTALES.items() if telltale in data), "")


def sees_pixels(model: Any) -> bool:
    """Whether a model was trained on frames; any other sees them through a checkpoint."""
    space = model.observation_space
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8


def obs_mode_of(model: Any, checkpoint: Checkpoint, named: str) -> str:
    """Which observation mode of the checkpoint the model was trained in, told by its observation space.

    Raises:
        UserError: the space is that of no mode, or the model was trained in another checkpoint.
    """
    trained_in = getattr(model, ORIGIN, {}).get("checkpoint")
    if trained_in and trained_in != checkpoint.hash:
        raise UserError(
            f"agent={named!r} was trained in checkpoint {trained_in}, not in {checkpoint.hash} ({checkpoint.path}); "
            "give its own with --checkpoint"
        )
    space = model.observation_space
    spaces = {mode: observation_space(checkpoint, mode) for mode in OBS_MODES}
    for mode, known in spaces.items():
        if isinstance(space, gym.spaces.Box) and space.shape == known.shape:
            return mode
    shapes = ", ".join(f"{mode} {known.shape}" for mode, known in spaces.items())
    raise UserError(
        f"agent={named!r} was trained on observations {space}, the checkpoint's are {shapes}; give its checkpoint"
    )


class PolicyAgent(FollowingAgent):
    """Plays a Stable-Baselines3 model without exploration (a ``BatchAgent``). What a checkpoint shows of an episode
    follows it frame by frame, as in training. A recurrent policy keeps its state through each episode.

    Args:
        model: what ``load_policy`` returns.
        checkpoint: what computes latents and read-outs; not needed for pixels.
        action_dim: A of the environment.
        named: how errors call the model.
        memory: whether episodes remember what they showed; None: as in training.

    Raises:
        UserError: another action or observation space, or a model that was trained in another checkpoint.
    """

    def __init__(
        self,
        model: Any,
        checkpoint: Checkpoint | None,
        action_dim: int = 4,
        named: str = "model",
        memory: bool | None = None,
    ) -> None:
        wanted, self.actions = Actions.of(None, action_dim), Actions(model.action_space)
        if checkpoint is not None:
            wanted = checkpoint.actions
        if self.actions.space != wanted.space and (checkpoint is not None or self.actions.dim != wanted.dim):
            raise UserError(
                f"agent={named!r} was trained for actions {model.action_space}, the environment's are {wanted.space}; "
                "train it for these"
            )
        self.model, self.named = model, named
        self._observer: Observer | None = None
        simulator = sub_goals = None
        if not sees_pixels(model):
            if checkpoint is None:
                raise UserError(f"agent={named!r} sees frames through a checkpoint; give it with --checkpoint")
            obs_mode = obs_mode_of(model, checkpoint, named)
            trained = getattr(model, ORIGIN, {}).get("memory")
            simulator = checkpoint.simulator(memory=trained if memory is None else memory)
            self._observer = Observer(simulator, obs_mode)
            sub_goals = rule_of(checkpoint, ALWAYS)  # as in imagination, where those of other tasks are not known
        super().__init__(simulator, sub_goals=sub_goals)

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        """Actions (E, A) in [-1, 1]."""
        seen = self._checked(state) if self._observer is None else self._observer.of(state)
        return self.actions.inside(self._predict(lanes, seen))

    def _predict(self, lanes: Sequence[Lane], observations: np.ndarray) -> Any:
        if type(self.model).__name__ != "RecurrentPPO":  # the one algorithm here with a state
            return self.model.predict(observations, deterministic=True)[0]
        for lane in lanes:
            lane.kept = lane.kept or PredictingAgent(self.model)
        return [lane.kept.act(seen) for lane, seen in zip(lanes, observations, strict=True)]

    def _checked(self, frames: np.ndarray) -> np.ndarray:
        """The frames; UserError if they are of another size than those trained on."""
        shape, given = self.model.observation_space.shape, frames.shape[1:]
        if given not in (shape, (*shape[1:], shape[0])):  # they store images with the channels first
            raise UserError(f"agent={self.named!r} was trained on frames {shape}, the environment's are {given}")
        return frames


def build_policy(name: str, checkpoint: Any, device: str, settings: dict[str, Any], action_dim: int = 4) -> PolicyAgent:
    """The agent that ``sb3:path.zip`` names. Its one setting, ``memory``, is for models that see through a checkpoint.

    Raises:
        UserError: see ``load_policy`` and ``PolicyAgent``, or another setting.
    """
    model = load_policy(name.removeprefix(PREFIX))
    settings = dict(settings)
    memory = None if sees_pixels(model) else settings.pop("memory", None)
    if settings or memory not in (None, True, False):
        key, value = next(iter((settings or {"memory": memory}).items()))
        raise UserError(f"agent.{key}={value!r}: agent={name!r} takes but memory=true or false, unless it sees pixels")
    if not sees_pixels(model):
        checkpoint = Given(checkpoint, device).load()
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else None
    return PolicyAgent(model, loaded, action_dim, name, memory)


def needs_checkpoint(name: str) -> bool:
    """Whether the model that ``sb3:path.zip`` names sees frames through a checkpoint."""
    return not sees_pixels(load_policy(name.removeprefix(PREFIX)))
