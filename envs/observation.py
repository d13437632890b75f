"""What an agent sees of a task, imagined or real: the frame, its latents, or what the heads read out of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from sfvgen_plan.devices import resolve_device
from sfvgen_plan.envs.forks import wake_torch
from sfvgen_plan.envs.memory.parts import text_at
from sfvgen_plan.envs.memory.sub_goals import ALWAYS
from sfvgen_plan.envs.real import OBS_MODES
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.model.checkpoint import Checkpoint, load_checkpoint
from sfvgen_plan.simulation import Outcome
from sfvgen_plan.simulator import LearnedSimulator

LIMIT = 20.0
"""Bound of standardised numbers. Real frames stay far below; what lies beyond is clipped."""


def load_on(checkpoint: str | Path | Checkpoint | None, device: str = "auto") -> Checkpoint:
    """The checkpoint, loaded on ``device``; one that is loaded already stays where it is. Raises UserError: an unusable
    device, one other than the loaded checkpoint's, a missing or damaged checkpoint, a GPU in a process forked from one
    with torch."""
    chosen = resolve_device(device)
    wake_torch(chosen)
    if not isinstance(checkpoint, Checkpoint):
        return load_checkpoint(checkpoint, chosen)
    there = checkpoint.pipeline.device
    if device != "auto" and torch.empty(0, device=chosen).device != torch.empty(0, device=there).device:
        raise UserError(f"device={device!r}, but the checkpoint was loaded on '{there}'; leave device='auto'")
    return checkpoint


class Observer:
    """Turns states of a learned simulator into observations. Real episodes are followed by the same simulator, so that
    what they show, too, contains what went before and what is remembered. Raises UserError: another mode.

    - ``pixels``: (size, size, 3) uint8, the newest frame.
    - ``latent``: (C * h * w,) float32 in [-20, 20], the newest frame's standardised latents.
    - ``state``: (D + 2,) float32 in [-20, 20], the read-outs that the checkpoint's card names, scaled to unit variance
      over the training data, then success probability and value as they are.

    Args:
        simulator: encodes, decodes and reads; its precision is the observations'.
        obs_mode: one of ``OBS_MODES``.
    """

    def __init__(self, simulator: LearnedSimulator, obs_mode: str = "pixels") -> None:
        self.simulator, self.obs_mode = simulator, obs_mode
        self.space = observation_space(simulator.checkpoint, obs_mode)
        config = simulator.network.config
        known = simulator.checkpoint.card.tasks if simulator.checkpoint.card.sub_goals else {}
        self.schedules = {task: schedule for task, schedule in ALWAYS.items() if task in known}
        self._mean = np.asarray(config.estimate_mean, np.float32)
        self._std = np.asarray(config.estimate_std, np.float32)

    def begin(self, frames: np.ndarray, tasks: Sequence[str], about: Sequence[str] | None = None) -> Imagination:
        """Follow E real episodes from their first frames (E, H, W, 3) uint8 on; ``about``: what each is about, in the
        simulator's words; None: the tasks' instructions."""
        texts = self.texts(tasks, [0] * len(frames))
        if texts is None and about is not None:
            texts = [self.simulator.checkpoint.told(task, text) for task, text in zip(tasks, about, strict=True)]
        return self.simulator.begin(frames[:, None], tasks, [0] * len(frames), texts)

    def observe(self, state: Imagination, frames: np.ndarray, actions: np.ndarray) -> Imagination:
        """The same episodes after actions (E, ...) of the environment, which led to frames (E, H, W, 3) uint8."""
        held = torch.from_numpy(self.simulator.checkpoint.actions.inside(actions))
        return self.simulator.observe(self.told(state), frames[:, None], held[:, None])

    def texts(self, tasks: Sequence[str], decisions: Sequence[int]) -> list[str] | None:
        """What episodes that are so many decisions old have to do next: the sub-goals of tasks that always have the
        same ones, else the instructions. None for checkpoints that know but these."""
        if not self.schedules.keys() & set(tasks):
            return None
        usual = {task: ((text, 1),) for task, text in self.simulator.checkpoint.card.tasks.items()} | self.schedules
        return [text_at(usual[task], decision) for task, decision in zip(tasks, decisions, strict=True)]

    def told(self, state: Imagination) -> Imagination:
        """The same episodes, told what they have to do after the coming decision."""
        if not self.schedules:
            return state
        names = list(self.simulator.checkpoint.card.tasks)
        texts = self.texts([names[task] for task in state.task.tolist()], state.step.tolist())
        return state if texts is None else self.simulator.tell(state, texts)

    def of(self, state: Imagination) -> np.ndarray:
        """Observations (N, ...) of the newest frames."""
        return self.seen(state, self.simulator.read(state))[0]

    def seen(self, state: Imagination, outcome: Outcome) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Observations (N, ...) of the newest frames, and what ``outcome`` says of them: reward, success, value
        (N,) float64, termination where it is told, and estimates (N, D) float32. All numbers leave the device in one
        copy."""
        parts = {"reward": outcome.reward, "success": outcome.success, "value": outcome.value}
        if outcome.termination is not None:
            parts["termination"] = outcome.termination
        columns = [part[:, -1] for part in parts.values()]
        tensors = [torch.stack(columns, 1), outcome.estimates[:, -1]]
        if self.obs_mode == "latent":
            tensors.append(state.latents.flatten(1))
        numbers = torch.cat([tensor.float() for tensor in tensors], 1).cpu().numpy()
        first, last = len(columns), len(columns) + tensors[1].shape[1]
        told = dict(zip(parts, np.array(numbers[:, :first].T, np.float64, order="C"), strict=True))
        estimates = told["estimates"] = numbers[:, first:last].copy()
        if self.obs_mode == "pixels":
            return self.frames(state), told
        if self.obs_mode == "latent":
            return numbers[:, last:].clip(-LIMIT, LIMIT), told
        units = [(estimates - self._mean) / self._std, numbers[:, 1:3]]  # success and value
        return np.concatenate(units, axis=1).clip(-LIMIT, LIMIT), told

    def frames(self, state: Imagination) -> np.ndarray:
        """The newest frames (N, size, size, 3) uint8."""
        return self.simulator.decode(state.latents)


def observation_space(checkpoint: Checkpoint, obs_mode: str) -> gym.spaces.Box:
    """The space of one observation. Raises UserError: no such mode."""
    if obs_mode == "pixels":
        return gym.spaces.Box(0, 255, checkpoint.frame_shape, np.uint8)
    if obs_mode == "latent":
        config = checkpoint.pipeline.transformer.config
        count = config.latent_channels * config.height * config.width
    elif obs_mode == "state":
        count = len(checkpoint.card.readouts) + 2
    else:
        raise unknown_name("obs_mode", obs_mode, OBS_MODES)
    return gym.spaces.Box(-LIMIT, LIMIT, (count,), np.float32)


class CheckpointObservation(gym.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """A real environment, whose observations are frames (H, W, 3) uint8, seen through a loaded checkpoint: what
    ``sfvgen/Imagined-v0`` shows in the same ``obs_mode``, computed from rendered frames and actions alone. Raises
    UserError: the checkpoint was trained for other tasks or frames."""

    def __init__(
        self, env: gym.Env[np.ndarray, np.ndarray], checkpoint: Checkpoint, obs_mode: str, exact: bool = False
    ) -> None:
        super().__init__(env)
        real: Any = env.unwrapped
        checkpoint.check_fits([real.task], real, f"task {real.task!r}", "make the environment with the former")
        self.checkpoint, self.obs_mode = checkpoint, obs_mode
        self._observer = Observer(checkpoint.simulator(exact=exact), obs_mode)
        self._state: Imagination | None = None
        self.observation_space = self._observer.space
        self._task = real.task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        frame, info = self.env.reset(seed=seed, options=options)
        self._state = self._observer.begin(frame[None], [self._task], [str(info.get("instruction", ""))])
        return self._observer.of(self._state)[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict]:
        frame, reward, terminated, truncated, info = self.env.step(action)
        if self._state is None:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        self._state = self._observer.observe(self._state, frame[None], np.asarray(action)[None])
        return self._observer.of(self._state)[0], reward, terminated, truncated, info
