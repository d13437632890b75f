"""Tasks as the learned simulator imagines them: one episode at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.batch import Episodes, ImaginedBatch, Seen, Settings
from sfvgen_plan.envs.decisions import as_numbers
from sfvgen_plan.envs.states import ImaginedState, captured, fork_of, restored
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.memory.weights import Memory
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulator import Imagination

RESET_OPTIONS = ("frames", "memory")
LARGEST_SCENE = 2**63


class ImaginedEnv(gym.Env[np.ndarray, np.ndarray]):
    """One task, imagined: a decision leads to one video frame, made by one denoising pass.

    Spaces are those of the real environment (``sfvgen/Metaworld-v0``, ``sfvgen/RLBench-v0``) at the checkpoint's size
    and the same ``obs_mode``. Observation in pixels: (size, size, 3) uint8 RGB, always what the model sees, so start
    frames, too, have been through its autoencoder. Action: (A,) in [-1, 1]. Reward: what the model expects of the real
    environment's. Never terminates; truncates after ``max_decisions``, after which it may still be stepped.

    ``info``: ``success_probability`` that the task is solved at this decision, ``success`` (probability above 0.5;
    False after reset, as nothing was decided yet), ``success_latched`` (at any decision so far), ``estimates`` (10,)
    float32 in the order of the checkpoint's ``card.readouts``, ``value`` in [0, 1], ``instruction``, and with
    ``futures`` above 1 ``uncertainty``.

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

    @property
    def state(self) -> Imagination:
        """The imagined episode, a value that steps don't change: context latents, memory and random state.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        return self._running.imagination

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return int(self._episodes.decisions[0]) if self._episodes is not None else 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, from one of the checkpoint's start frames or from ``options["frames"]``; where the
        environment learns, with a fresh memory or with the one in ``options["memory"]``.

        Args:
            seed: without one, the next episode of the random sequence that the last seed began.
            options: ``frames``, (P, size, size, 3) or (size, size, 3) uint8 from the checkpoint's camera, oldest first;
                ``memory``, the folder of a PEFT adapter, as ``save_memory`` writes it.

        Raises:
            UserError: an unknown option, frames of another shape or type, no start frame in the checkpoint, a memory
                that can't be loaded or does not fit.
        """
        frames = checked_frames(options or {}, self.checkpoint.size)
        memories = checked_memories(options or {}, self.batch)
        super().reset(seed=seed)
        self._episodes, seen = self.batch.begin(
            [scene_number(seed, self.np_random)], None if frames is None else frames[None], memories
        )
        return seen.observation[0], seen.single()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Imagine one decision; values of ``action`` (A,) outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        held = self._checked_action(action)
        self._episodes, seen = self.batch.advance(self._running, held[None])
        truncated = self.decisions >= self.batch.max_decisions
        return seen.observation[0], float(seen.reward[0]), False, truncated, seen.single()

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self.batch.frames(self._running)[0] if self.render_mode == "rgb_array" else None

    def save_memory(self, folder: str | Path) -> None:
        """Write what the episode has learnt as a PEFT adapter folder; files of the same names are replaced.

        Later episodes begin with it by ``reset(options={"memory": folder})``. Of the episodes of a vector environment
        ``sfvgen_plan.memory.adapter.save_memory`` writes ``get_state().episodes.imagination.memory``.

        Raises:
            UserError: the environment plays without memory, or the folder can't be written to.
            gymnasium.error.ResetNeeded: no episode was started.
        """
        from sfvgen_plan.memory.adapter import save_memory  # imports PEFT

        if self.state.memory is None:
            raise UserError(
                "memory=False: this environment learns nothing that could be saved; make it with memory=True"
            )
        save_memory(self.state.memory, Path(folder), base=self.checkpoint.hash)

    def get_state(self) -> ImaginedState:
        """The exact current moment, memory and random state included; steps don't change it.

        Raises:
            gymnasium.error.ResetNeeded: no episode was started.
        """
        ended = np.array([self.decisions >= self.batch.max_decisions])
        return captured(self.batch, self._running, ended, [self.np_random])

    def set_state(self, state: ImaginedState | str | Path) -> tuple[np.ndarray, dict]:
        """Return to a state, or to the one in a file; what follows is the same bit for bit.

        Returns:
            Observation and info of that moment.

        Raises:
            UserError: a state of another checkpoint, task, memory or ``anchor_every``, of other settings that the
                future depends on, of several episodes, or a damaged file.
        """
        self._episodes, _, (self.np_random,) = restored(state, self.batch, 1)
        seen: Seen = self.batch.look(self._episodes)
        return seen.observation[0], seen.single()

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

    def _checked_action(self, action: np.ndarray) -> np.ndarray:
        values = as_numbers(action)
        wanted = self.action_space.shape
        if values.shape != wanted:
            raise UserError(f"action has shape {values.shape}; the checkpoint's actions have shape {wanted}")
        if not np.isfinite(values).all():
            raise UserError(f"action={values.tolist()} has a number that is not finite; give values in [-1, 1]")
        return values


def scene_number(seed: int | None, random: np.random.Generator) -> int:
    """Which scene an episode plays: that of the seed, or the generator's next."""
    return int(random.integers(LARGEST_SCENE)) if seed is None else seed % LARGEST_SCENE


def checked_memories(options: Mapping[str, Any], batch: ImaginedBatch, episodes: int = 1) -> list[Memory | None] | None:
    """Memories of the reset options for so many episodes, or None: of one folder the same for all, or of a list of as
    many folders, where None stands for a fresh memory.

    Raises:
        UserError: anything else, or an adapter that can't be loaded or does not fit.
    """
    given = options.get("memory")
    if given is None:
        return None
    folders = [given] * episodes if isinstance(given, (str, Path)) else given
    fits = isinstance(folders, (list, tuple)) and len(folders) == episodes
    if not fits or not all(folder is None or isinstance(folder, (str, Path)) for folder in folders):
        several = "" if episodes == 1 else f", or a list of {episodes}"
        raise UserError(f"memory={given!r} is no folder; give that of one PEFT adapter{several}")
    loaded = {folder: batch.load_memory(folder) for folder in dict.fromkeys(folders) if folder is not None}
    return [loaded.get(folder) for folder in folders]


def checked_frames(options: Mapping[str, Any], size: int, episodes: int | None = None) -> np.ndarray | None:
    """Start frames (P, size, size, 3) uint8 of the reset options, or None.

    With ``episodes``, for so many at once: (episodes, P, size, size, 3), also from the same frames for all.

    Raises:
        UserError: an unknown option, or frames of another shape or type.
    """
    for name in options:
        if name not in RESET_OPTIONS:
            raise unknown_name("options", name, RESET_OPTIONS)
    if "frames" not in options:
        return None
    frames = np.asarray(options["frames"])
    each = episodes is not None and frames.ndim == 5 and len(frames) == episodes
    if frames.ndim not in (3, 4, 5 if each else 4) or frames.shape[-3:] != (size, size, 3) or not frames.size:
        several = "" if episodes is None else f", or ({episodes}, P, {size}, {size}, 3)"
        raise UserError(
            f"frames have shape {frames.shape}; the checkpoint's are ({size}, {size}, 3), or (P, {size}, {size}, 3)"
            f"{several}"
        )
    if frames.dtype != np.uint8:
        raise UserError(f"frames have type {frames.dtype}; give uint8 in [0, 255]")
    if frames.ndim == 3:
        frames = frames[None]
    return frames if episodes is None or frames.ndim == 5 else np.repeat(frames[None], episodes, axis=0)
