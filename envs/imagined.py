"""Tasks as the learned simulator imagines them: one episode at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.batch import Episodes, ImaginedBatch, Seen, Settings, scene_number
from sfvgen_plan.envs.checks import checked_actions, checked_frames, checked_seed
from sfvgen_plan.envs.states import ImaginedState, captured, fork_of, restored
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
        task, checkpoint, settings: see ``sfvgen_plan.envs.batch.ImaginedBatch``.
        render_mode: "rgb_array" or None.

    Raises:
        UserError: what ``ImaginedBatch`` refuses.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        render_mode: str | None = "rgb_array",
        **settings: Unpack[Settings],
    ) -> None:
        self.batch = ImaginedBatch(task, checkpoint, **settings)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.batch.render_fps}
        self.observation_space = self.batch.observation_space
        self.action_space = self.batch.action_space
        self.checkpoint, self.simulator = self.batch.checkpoint, self.batch.simulator
        self.task, self.instruction = self.batch.task, self.batch.instruction
        self._episodes: Episodes | None = None
        self._observation = np.zeros(self.observation_space.shape, self.observation_space.dtype)

    @property
    def state(self) -> Imagination:
        """The imagined episode, a value that steps don't change. It holds the newest latents, what is kept of earlier
        frames, and the random state.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        return self._running.imagination

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return int(self._episodes.decisions[0]) if self._episodes is not None else 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, from one of the checkpoint's start frames or from ``options["frames"]``.

        Args:
            seed: without one, the next episode of the random sequence that the last seed began.
            options: ``frames``, (P, size, size, 3) or (size, size, 3) uint8 from the checkpoint's camera, oldest first.

        Raises:
            UserError: an unknown option, frames of another shape or type, no start frame in the checkpoint.
        """
        frames = checked_frames(options or {}, self.checkpoint.frame_shape, 1)
        seed = None if seed is None else checked_seed(seed)
        super().reset(seed=seed)
        self._episodes, seen = self.batch.begin([scene_number(seed, self.np_random)], frames)
        return self._shown(seen)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Imagine one decision; values of ``action`` beyond its bounds are clipped.

        Raises:
            UserError: wrong shape, a number that is not finite, or none of the discrete actions.
        """
        held = checked_actions(action, self.batch.actions)
        self._episodes, seen = self.batch.advance(self._running, held[None])
        observation, info = self._shown(seen)
        terminated, truncated = bool(self._episodes.over[0]), self.decisions >= self.batch.max_decisions
        return observation, float(seen.reward[0]), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        if self.render_mode != "rgb_array":
            return None
        episodes = self._running
        # Not decoded again where it was observed.
        return self._observation.copy() if self.batch.observer.obs_mode == "pixels" else self.batch.frames(episodes)[0]

    def get_state(self) -> ImaginedState:
        """The exact current moment, random state included; steps don't change it.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        episodes = self._running
        ended = episodes.over | (episodes.decisions >= self.batch.max_decisions)
        return captured(self.batch, episodes, ended, [self.np_random])

    def set_state(self, state: ImaginedState | str | Path) -> tuple[np.ndarray, dict]:
        """Return to a state, or to the one in a file; what follows is the same bit for bit.

        Returns:
            Observation and info of that moment.

        Raises:
            UserError: a state of another checkpoint or task, of other settings that the future depends on, of several
                episodes, or a damaged file.
        """
        self._episodes, _, (self.np_random,) = restored(state, self.batch, 1)
        return self._shown(self.batch.look(self._episodes))

    def fork(self, n: int) -> list[ImaginedEnv]:
        """``n`` environments that go on from here independently; the model is shared.

        Raises:
            UserError: ``n`` below 1.
        """
        return fork_of(self, n, ("action_space", "observation_space"))

    @property
    def _running(self) -> Episodes:
        if self._episodes is None:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        return self._episodes

    def _shown(self, seen: Seen) -> tuple[np.ndarray, dict]:
        self._observation = seen.observation[0]
        return self._observation.copy(), seen.single()
