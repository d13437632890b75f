"""What an agent sees of a task, imagined or real: the frame, its latents, or what the heads read out of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import unknown_name
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulation import STATE_NAMES, Outcome
from sfvgen_plan.simulator import Imagination, LearnedSimulator

STATE_READOUTS = (*STATE_NAMES, "success_probability", "value")
"""What the numbers of a ``state`` observation are."""

LIMIT = 20.0
"""Bound of standardised numbers. Real frames stay far below; what lies beyond is clipped."""

PAIR = 2
"""Frames that the heads look at: the newest and the one before it."""


class Observer:
    """Turns imagined states, and real frames by way of the same encoder and heads, into observations.

    - ``pixels``: (size, size, 3) uint8, the newest frame.
    - ``latent``: (C * h * w,) float32 in [-20, 20], the newest frame's standardised latents.
    - ``state``: (12,) float32 in [-20, 20], ``STATE_READOUTS``: estimates scaled to unit variance over the training
      data, then success probability and value as they are.

    Args:
        simulator: encodes, decodes and reads; its precision is the observations'.
        obs_mode: one of ``OBS_MODES``.

    Raises:
        UserError: another mode.
    """

    def __init__(self, simulator: LearnedSimulator, obs_mode: str = "pixels") -> None:
        self.simulator, self.obs_mode = simulator, obs_mode
        self.space = observation_space(simulator.checkpoint, obs_mode)
        config = simulator.pipeline.heads.config
        self._mean = np.asarray(config.estimate_mean, np.float32)
        self._std = np.asarray(config.estimate_std, np.float32)

    def of_imagined(self, state: Imagination, outcome: Outcome) -> np.ndarray:
        """Observations (N, ...) of the newest frames, ``outcome`` being what the heads say of them."""
        if self.obs_mode == "pixels":
            return self.frames(state)
        if self.obs_mode == "latent":
            return state.context[:, -1].flatten(1).clamp(-LIMIT, LIMIT).float().cpu().numpy()
        units = (outcome.estimates[:, -1].float().cpu().numpy() - self._mean) / self._std
        rest = torch.stack([outcome.success[:, -1], outcome.value[:, -1]], dim=1).float().cpu().numpy()
        return np.concatenate([units, rest], axis=1).clip(-LIMIT, LIMIT)

    def of_real(self, frames: np.ndarray, tasks: Sequence[str]) -> np.ndarray:
        """Observations (E, ...) of real frames (E, P, H, W, 3) uint8, oldest first; one frame stood still before."""
        if self.obs_mode == "pixels":
            return frames[:, -1]
        state = self.simulator.begin(frames[:, -PAIR:], tasks, [0] * len(frames))
        return self.of_imagined(state, self.simulator.read(state))

    def encode(self, frames: np.ndarray) -> Tensor:
        """Latents (E, C, h, w) of real frames (E, H, W, 3) uint8, for ``of_latents``."""
        with torch.inference_mode(), self.simulator.precision():
            return self.simulator.pipeline.encode(frames)

    def of_latents(self, latents: Tensor, tasks: Sequence[str]) -> np.ndarray:
        """What ``of_real`` gives for frames whose latents are these (E, P, C, h, w); not for pixels."""
        state = self.simulator.begin_latents(latents, tasks, [0] * len(latents))
        return self.of_imagined(state, self.simulator.read(state))

    def frames(self, state: Imagination) -> np.ndarray:
        """The newest frames (N, size, size, 3) uint8."""
        return self.simulator.decode(state.context[:, -1:])[:, 0]


def observation_space(checkpoint: Checkpoint, obs_mode: str) -> gym.spaces.Box:
    """The space of one observation.

    Raises:
        UserError: no such mode.
    """
    if obs_mode == "pixels":
        return gym.spaces.Box(0, 255, (checkpoint.size, checkpoint.size, 3), np.uint8)
    if obs_mode == "latent":
        heads = checkpoint.pipeline.heads.config  # made for the latents' own shape
        count = heads.latent_channels * heads.sample_size**2
    elif obs_mode == "state":
        count = len(STATE_READOUTS)
    else:
        raise unknown_name("obs_mode", obs_mode, OBS_MODES)
    return gym.spaces.Box(-LIMIT, LIMIT, (count,), np.float32)


class CheckpointObservation(gym.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """A real environment seen through a checkpoint: what ``sfvgen/Imagined-v0`` shows in the same ``obs_mode``,
    computed from rendered frames alone.

    Args:
        env: its observations are frames (H, W, 3) uint8; has ``task``, ``size``, ``camera`` and ``repeat``.
        checkpoint: a loaded checkpoint.
        obs_mode: "latent", "state" or "pixels".
        exact: compute in float32 even where bfloat16 is faster.

    Raises:
        UserError: the checkpoint was trained for other tasks or frames.
    """

    def __init__(
        self, env: gym.Env[np.ndarray, np.ndarray], checkpoint: Checkpoint, obs_mode: str, exact: bool = False
    ) -> None:
        super().__init__(env)
        real: Any = env.unwrapped
        checkpoint.check_fits([real.task], real, f"task {real.task!r}", "make the environment with the former")
        self.checkpoint, self.obs_mode = checkpoint, obs_mode
        self._observer = Observer(checkpoint.simulator(exact=exact), obs_mode)
        self._frames: deque[np.ndarray] = deque(maxlen=PAIR)
        self.observation_space = self._observer.space
        self._task = real.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        frame, info = self.env.reset(seed=seed, options=options)
        self._frames.clear()
        return self._observe(frame), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict]:
        frame, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(frame), reward, terminated, truncated, info

    def _observe(self, frame: np.ndarray) -> np.ndarray:
        self._frames.append(frame)
        return self._observer.of_real(np.stack(self._frames)[None], [self._task])[0]
