"""Stable-Baselines3 policies from zip files as agents: they act on real frames, seen in the mode they were trained in,
or on what their own environment observes.

A zip holds pickled objects: open only files that you trust.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.adapters import PredictingAgent
from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.agents.lanes import FollowingAgent, Lane, rule_of
from sfvgen_plan.agents.outside import PREFIX
from sfvgen_plan.envs.memory.sub_goals import ALWAYS
from sfvgen_plan.envs.observation import LIMIT, Observer, observation_space
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.model.checkpoint import Checkpoint

ORIGIN = "sfvgen_plan"
"""Attribute of a model that was trained in imagination: checkpoint hash, task, observation mode and memory."""


def load_policy(name: str | Path) -> Any:
    """The policy in a zip that an algorithm of Stable-Baselines3, or of a package like it, has saved, on the CPU: a GPU
    would only wait for such small networks. ``sb3:`` may stand before the path. Raises UserError: no such file, a file
    of something else, one of another version, or a missing package."""
    from stable_baselines3.common.save_util import load_from_zip_file

    path = str(name).removeprefix(PREFIX)
    try:
        data, parameters, _ = load_from_zip_file(path, device="cpu")
        assert data is not None
        own = {"use_sde": True} if data.get("use_sde") else {}
        spaces = data["observation_space"], data["action_space"]
        policy = data["policy_class"](*spaces, lambda _: 0.0, **own | data["policy_kwargs"])
        policy.load_state_dict(parameters["policy"])
    except ImportError as error:
        raise UserError(f"agent='{PREFIX}{path}' needs a package that is missing ({error}); install it") from error
    except OSError as error:
        raise UserError(f"agent='{PREFIX}{path}' can't be read ({error}); give a zip saved by an algorithm") from error
    except Exception as error:  # whatever unpickling runs into
        raise UserError(
            f"agent='{PREFIX}{path}' is no policy, damaged or of another version ({reason(error)}); save it again"
        ) from error
    setattr(policy, ORIGIN, data.get(ORIGIN, {}))
    return policy


def sees_pixels(model: Any) -> bool:
    """Whether a model was trained on frames; any other sees them through a checkpoint."""
    space = model.observation_space
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8


def sees_own(model: Any) -> bool:
    """Whether a model was trained on numbers of its environment's own; those of a checkpoint have bounds of theirs."""
    space = model.observation_space
    bounded = isinstance(space, gym.spaces.Box) and (space.low == -LIMIT).all() and (space.high == LIMIT).all()
    return not sees_pixels(model) and not bounded


def obs_mode_of(model: Any, checkpoint: Checkpoint, named: str) -> str:
    """Which observation mode of the checkpoint the model was trained in, told by its observation space. Raises
    UserError: the space is that of no mode, or the model was trained in another checkpoint."""
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
    follows it frame by frame, as in training; pixels need none. A recurrent policy keeps its state through each
    episode. ``named``: how errors call the model; ``memory``: whether episodes remember what they showed, None: as in
    training. Raises UserError: another action or observation space, or a model that was trained in another checkpoint.
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
        if checkpoint is not None:
            obs_mode = obs_mode_of(model, checkpoint, named)
            trained = getattr(model, ORIGIN, {}).get("memory")
            simulator = checkpoint.simulator(memory=trained if memory is None else memory)
            self._observer = Observer(simulator, obs_mode)
            sub_goals = rule_of(checkpoint, ALWAYS)  # as in imagination, where those of other tasks are not known
        super().__init__(simulator, sub_goals=sub_goals)

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        seen = self._checked(state) if self._observer is None else self._observer.of(state)
        return self.actions.inside(self._predict(lanes, seen))

    def _predict(self, lanes: Sequence[Lane], observations: np.ndarray) -> Any:
        if not hasattr(self.model, "lstm_actor"):  # it keeps no state
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


class OwnObservations(Stateless):
    """Plays a Stable-Baselines3 model on the environment's own observations, without exploration (an ``EnvAgent``)."""

    def __init__(self, model: Any, named: str = "model") -> None:
        self.model, self.named, self._policy = model, named, PredictingAgent(model)

    def reset(self, task: str, seed: int) -> None:
        self._policy.reset(task, seed)

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) in [-1, 1]. Raises UserError: other observations or actions than the model's."""
        spaces = self.model.observation_space, self.model.action_space
        if not spaces[0].contains(env.observation) or spaces[1] != env.action_space:
            raise UserError(
                f"agent={self.named!r} was trained for observations {spaces[0]} and actions {spaces[1]}, which are not "
                f"those of task={env.task!r} ({env.action_space}); train it there"
            )
        return Actions(env.action_space).inside(self._policy.act(env.observation))
