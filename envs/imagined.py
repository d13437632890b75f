"""Tasks as the learned simulator imagines them: one episode at a time, a vector environment of one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from sfvgen_plan.envs.decisions import checked_actions
from sfvgen_plan.envs.states import ImaginedState
from sfvgen_plan.envs.vector import ImaginedVectorEnv
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.model.checkpoint import Checkpoint


class ImaginedEnv(gym.Env[np.ndarray, np.ndarray]):
    """One task, imagined: a decision leads to one video frame, made by one pass of the model.

    Spaces are those of the real environment (``sfvgen/Metaworld-v0``, ``sfvgen/RLBench-v0``, ``sfvgen/Gym-v0``) at the
    checkpoint's size and the same ``obs_mode``. Observation in pixels: (size, size, 3) uint8 RGB, always what the model
    sees, so start frames, too, have been through its autoencoder. Action: (A,) in [-1, 1], or what the environment that
    was learned takes. Reward: what the model expects of the real environment's. Terminates where the model expects the
    task to end by itself, if tasks do; truncates after ``max_decisions``. Either way it may still be stepped.

    ``info``: ``success_probability`` that the task is solved at this decision, ``success`` (probability above 0.5;
    False after reset, as nothing was decided yet), ``success_latched`` (at any decision so far; also as
    ``is_success``), ``estimates`` (D,) float32 in the order of the checkpoint's ``card.readouts``, ``value`` in [0, 1].

    The same seed gives the same start frame and the same noise. Seeds go through the checkpoint's start frames in turn.

    Args:
        task, checkpoint, settings: see ``sfvgen_plan.envs.vector.ImaginedVectorEnv``.
        render_mode: "rgb_array" or None.

    Raises:
        UserError: what ``ImaginedVectorEnv`` refuses.
    """

    metadata = ImaginedVectorEnv.metadata

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        render_mode: str | None = "rgb_array",
        **settings: Any,
    ) -> None:
        self._vector = vector = ImaginedVectorEnv(1, task, checkpoint, AutoresetMode.DISABLED, render_mode, **settings)
        self.metadata = {name: value for name, value in vector.metadata.items() if name != "autoreset_mode"}
        self.render_mode = render_mode
        self.observation_space, self.action_space = vector.single_observation_space, vector.single_action_space
        self.checkpoint, self.simulator = vector.checkpoint, vector.simulator
        self.task, self.instruction = vector.task, vector.instruction

    @property
    def state(self) -> Imagination:
        """The imagined episode, a value that steps don't change. It holds the newest latents, what is kept of earlier
        frames, and the random state.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        return self._vector.episodes.imagination

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return int(self._vector.decisions[0])

    @property
    def _np_random(self) -> np.random.Generator | None:  # where Gymnasium keeps it
        return self._vector.generators[0]

    @_np_random.setter
    def _np_random(self, generator: np.random.Generator | None) -> None:
        self._vector.generators[0] = generator

    @property
    def np_random_seed(self) -> int:
        """The seed of its generator, -1 where it is unknown."""
        return self._vector.np_random_seed[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, from one of the checkpoint's start frames or from ``options["frames"]``.

        Args:
            seed: without one, the next episode of the random sequence that the last seed began.
            options: ``frames``, (P, size, size, 3) or (size, size, 3) uint8 from the checkpoint's camera, oldest first.

        Raises:
            UserError: an unknown option, frames of another shape or type, no start frame in the checkpoint.
        """
        return _single(*self._vector.reset(seed=seed, options=options))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Imagine one decision; values of ``action`` beyond its bounds are clipped.

        Raises:
            UserError: wrong shape, a number that is not finite, or none of the discrete actions.
            gymnasium.error.ResetNeeded: no episode was started.
        """
        held = checked_actions(action, self._vector.actions)
        observations, rewards, terminations, truncations, infos = self._vector.moved(held[None])
        observation, info = _single(observations, infos)
        return observation, float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        frames = self._vector.render()
        return None if frames is None else frames[0]

    def get_state(self) -> ImaginedState:
        """The exact current moment, random state included; steps don't change it.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        return self._vector.get_state()

    def set_state(self, state: ImaginedState | str | Path) -> tuple[np.ndarray, dict]:
        """Return to a state, or to the one in a file; what follows is the same bit for bit.

        Returns:
            Observation and info of that moment.

        Raises:
            UserError: a state of another checkpoint or task, of other settings that the future depends on, of several
                episodes, or a damaged file.
        """
        return _single(*self._vector.set_state(state))

    def fork(self, n: int) -> list[ImaginedEnv]:
        """``n`` environments that go on from here independently; the model is shared.

        Raises:
            UserError: ``n`` below 1.
        """
        forks = []
        for vector in self._vector.fork(n):
            fork = copy.copy(self)
            fork._vector = vector
            fork.observation_space, fork.action_space = vector.single_observation_space, vector.single_action_space
            forks.append(fork)
        return forks


def _single(observations: np.ndarray, infos: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Observation and info of the only environment, in Python's own numbers."""
    firsts = {key: values[0] for key, values in infos.items() if not key.startswith("_")}
    return observations[0], {key: one.item() if isinstance(one, np.generic) else one for key, one in firsts.items()}
