"""Tasks as the learned simulator imagines them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from sfvgen_plan.envs.metaworld import RAW_STEPS_PER_SECOND
from sfvgen_plan.envs.tasks import PREFIX
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.model.checkpoint import Checkpoint, load_checkpoint
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.simulation import Outcome
from sfvgen_plan.simulator import Imagination

RESET_OPTIONS = ("frames",)


class ImaginedEnv(gym.Env[np.ndarray, np.ndarray]):
    """One task, imagined: a decision leads to one video frame, made by one denoising pass.

    Spaces are those of ``sfvgen/Metaworld-v0`` at the checkpoint's size. Observation: (size, size, 3) uint8 RGB, always
    what the model sees, so start frames, too, have been through its autoencoder. Action: (A,) in [-1, 1]. Reward: what
    the model expects of the real environment's. Never terminates; truncates after ``max_decisions``, after which it may
    still be stepped.

    ``info``: ``success_probability`` that the task is solved at this decision, ``success`` (probability above 0.5;
    False after reset, as nothing was decided yet), ``success_latched`` (at any decision so far), ``estimates`` (10,)
    float32 in the order of ``sfvgen_plan.simulation.STATE_NAMES``, ``value`` in [0, 1], ``instruction``.

    The same seed gives the same start frame and the same noise. Seeds go through the checkpoint's start frames in turn.

    Args:
        task: a task that the checkpoint lists, with or without the "metaworld/" prefix.
        checkpoint: folder, or a loaded checkpoint; None is the bundled one.
        memory: learn the episode while it is imagined (Temp-LoRA); True is the paper's hyperparameters.
        memory_every: decisions per learnt chunk.
        sampler_steps: denoising steps per decision.
        max_decisions: decisions until truncation.
        render_mode: "rgb_array" or None.
        device: a torch device; "auto" is the GPU if there is one. A loaded checkpoint stays where it is.

    Raises:
        UserError: a task that is not in the checkpoint, a missing or damaged checkpoint, an unusable device, a number
            out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        memory: bool | FastLearning = False,
        memory_every: int = 8,
        sampler_steps: int = 3,
        max_decisions: int = 100,
        render_mode: str | None = "rgb_array",
        device: str = "auto",
    ) -> None:
        if max_decisions < 1:
            raise UserError(f"max_decisions={max_decisions} is too small; give at least 1")
        self.checkpoint = _on_device(checkpoint, device)
        card = self.checkpoint.card
        longest = CONTEXT_WINDOW - card.context_frames
        if not 1 <= memory_every <= longest:
            raise UserError(f"memory_every={memory_every} is out of range; give 1 to {longest} decisions")
        self.task = task if task in card.tasks else task.removeprefix(PREFIX)
        self.checkpoint.task_index(self.task)
        self.instruction = card.tasks[self.task]
        learning = FastLearning() if memory is True else memory or None
        self.simulator = self.checkpoint.simulator(sampler_steps, learning)
        self.memory, self.memory_every = memory, memory_every
        self.max_decisions, self.render_mode = max_decisions, render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, RAW_STEPS_PER_SECOND // card.repeat)}
        self.observation_space = gym.spaces.Box(0, 255, (card.size, card.size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (card.action_dim,), np.float32)
        self._state: Imagination | None = None
        self._frame = np.zeros((card.size, card.size, 3), np.uint8)
        self._decisions = 0
        self._latched = False

    @property
    def state(self) -> Imagination:
        """The imagined episode, a value that steps don't change: context latents, memory and random state.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        return self._state

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return self._decisions

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, from one of the checkpoint's start frames or from ``options["frames"]``.

        Args:
            seed: without one, the next episode of the random sequence that the last seed began.
            options: ``frames``, (P, size, size, 3) or (size, size, 3) uint8 from the checkpoint's camera, oldest first.

        Raises:
            UserError: an unknown option, frames of another shape or type, or no start frame in the checkpoint.
        """
        frames = self._checked_frames(options or {})
        super().reset(seed=seed)
        scene = int(self.np_random.integers(2**63)) if seed is None else seed % 2**63
        if frames is None:
            starts = self.checkpoint.starts[self.task]
            begun = self.simulator.begin_latents(starts[scene % len(starts)][None, None], [self.task], [scene])
        else:
            begun = self.simulator.begin(frames[None], [self.task], [scene])
        self._decisions, self._latched = 0, False
        self._move(begun)
        return self._frame.copy(), self._info(self.simulator.read(begun), success=False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Imagine one decision; values of ``action`` (A,) outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        state = self.state
        held = torch.as_tensor(self._checked_action(action), device=self.simulator.device)
        new, outcome = self.simulator.imagine(state, held[None, None])
        self._decisions += 1
        if new.memory is not None and self._decisions % self.memory_every == 0:
            new = self.simulator.remember(new)
        self._move(new)
        success = float(outcome.success[0, 0]) > 0.5
        self._latched |= success
        truncated = self._decisions >= self.max_decisions
        return self._frame.copy(), float(outcome.reward[0, 0]), False, truncated, self._info(outcome, success)

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self._frame.copy() if self.render_mode == "rgb_array" else None

    def _move(self, state: Imagination) -> None:
        self._state = state
        self._frame = self.simulator.decode(state.context[:, -1:])[0, 0]

    def _info(self, outcome: Outcome, success: bool) -> dict[str, Any]:
        return {
            "success": success,
            "success_latched": self._latched,
            "success_probability": float(outcome.success[0, 0]),
            "estimates": outcome.estimates[0, 0].cpu().numpy(),
            "value": float(outcome.value[0, 0]),
            "instruction": self.instruction,
        }

    def _checked_frames(self, options: Mapping[str, Any]) -> np.ndarray | None:
        for name in options:
            if name not in RESET_OPTIONS:
                raise unknown_name("options", name, RESET_OPTIONS)
        if "frames" not in options:
            if not len(self.checkpoint.starts.get(self.task, ())):
                raise UserError(
                    f"task={self.task!r} has no start frame in the checkpoint {self.checkpoint.path}; "
                    'give reset(options={"frames": ...})'
                )
            return None
        frames = np.asarray(options["frames"])
        size = self.checkpoint.size
        if frames.ndim not in (3, 4) or frames.shape[-3:] != (size, size, 3) or not len(frames):
            raise UserError(
                f"frames have shape {frames.shape}; the checkpoint's are ({size}, {size}, 3), or (P, {size}, {size}, 3)"
            )
        if frames.dtype != np.uint8:
            raise UserError(f"frames have type {frames.dtype}; give uint8 in [0, 255]")
        return frames if frames.ndim == 4 else frames[None]

    def _checked_action(self, action: np.ndarray) -> np.ndarray:
        values = np.asarray(action, dtype=np.float32)
        wanted = self.action_space.shape
        if values.shape != wanted:
            raise UserError(f"action has shape {values.shape}; the checkpoint's actions have shape {wanted}")
        if not np.isfinite(values).all():
            raise UserError(f"action={values.tolist()} has a number that is not finite; give values in [-1, 1]")
        return np.clip(values, -1.0, 1.0)


def _on_device(checkpoint: str | Path | Checkpoint | None, device: str) -> Checkpoint:
    if device != "auto":
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError):
            raise UserError(f"device={device!r} can't be used here; give auto, cpu or a GPU that is there") from None
    if not isinstance(checkpoint, Checkpoint):
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(checkpoint, chosen if device == "auto" else device)
    there = checkpoint.pipeline.device
    if device != "auto" and torch.empty(0, device=device).device != torch.empty(0, device=there).device:
        raise UserError(f"device={device!r}, but the checkpoint was loaded on '{there}'; leave device='auto'")
    return checkpoint
