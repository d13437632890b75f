"""The learned simulator: a checkpoint's imagination, spoken to in frames and names of tasks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination, Imaginer
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulation import as_long


class LearnedSimulator(Imaginer):
    """``Simulator`` on a checkpoint; see ``sfvgen_plan.simulation`` for shapes. It holds no episode, and two on one
    checkpoint share nothing that changes.

    The same seed gives the same future whatever else is in the batch. Exactly so in batches of one size; another size
    may choose other kernels, which round differently (about 1e-5 in float32, 1e-2 in bfloat16).

    Args:
        checkpoint: the model and what it was trained for.
        sampler_steps: denoising steps a frame.
        memory: whether episodes remember what left the window of frames that the network sees; None: where the
            checkpoint has memory layers. False reads those layers, which then know nothing.
        exact: compute in float32 even where bfloat16 is faster.
        compiled: compile and capture the step, which pays from some hundred decisions on; only on a GPU.

    Raises:
        UserError: a checkpoint without a ``VideoTransformer``; ``memory=True`` for one without memory layers.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sampler_steps: int = 1,
        memory: bool | None = None,
        exact: bool = False,
        compiled: bool = False,
    ) -> None:
        network = checkpoint.pipeline.transformer
        if network is None:
            raise UserError(
                f"checkpoint {checkpoint.path} is a plain video model without heads, so nothing tells its rewards; "
                "train one from another recipe, such as train=default"
            )
        if memory and not checkpoint.has_memory:
            raise UserError(
                f"memory=True: checkpoint {checkpoint.path} has no memory layers; give one of train=memory, or leave "
                "memory out"
            )
        card, one_hot = checkpoint.card, checkpoint.actions.discrete
        super().__init__(network, sampler_steps, exact, memory is not False, compiled, one_hot, card.terminates)
        self.checkpoint, self.pipeline = checkpoint, checkpoint.pipeline
        self.memory = checkpoint.has_memory and memory is not False
        self._known: dict[str, Tensor] = {}

    def begin(
        self,
        frames: np.ndarray,
        tasks: Sequence[str],
        seeds: Sequence[int] | Tensor,
        texts: Sequence[str] | None = None,
    ) -> Imagination:
        """Start N episodes from frames (N, P, H, W, 3) uint8 of the checkpoint's ``frame_shape``, oldest first.

        ``texts``: what is to be done, sub-goals for example; None: the tasks' instructions.

        Raises:
            UserError: wrong frame shape, or a task that the checkpoint does not list.
        """
        self._check_frames(frames, len(tasks))
        return self.begin_latents(self.encode(frames), tasks, seeds, texts)

    def begin_latents(
        self,
        latents: Tensor,
        tasks: Sequence[str],
        seeds: Sequence[int] | Tensor,
        texts: Sequence[str] | None = None,
    ) -> Imagination:
        """Start N episodes from standardised latents (N, P, C, h, w), oldest first; see ``begin``.

        Raises:
            UserError: a task that the checkpoint does not list; another number of tasks or seeds than of episodes.
        """
        task = as_long([self.checkpoint.task_index(name) for name in tasks], self.device)
        seed = as_long(seeds, self.device)
        if not len(latents) == len(task) == len(seed):
            raise UserError(f"seeds={len(seed)} and tasks={len(task)} don't fit {len(latents)} episodes; give one each")
        told = [self.checkpoint.card.tasks[name] for name in tasks] if texts is None else texts
        return self.begun(latents.float(), self._features(told), task, seed)

    def tell(self, state: Imagination, texts: Sequence[str]) -> Imagination:
        """The same episodes with other things to do (N texts) from now on."""
        return replace(state, text=self._features(texts))

    def observe(self, state: Imagination, frames: np.ndarray, actions: Tensor) -> Imagination:
        """Go on with real frames (N, G, H, W, 3) uint8, each of which its action (N, G, A) led to: an agent follows its
        episode without starting anew.

        Raises:
            UserError: frames or actions of another shape.
        """
        self._check_frames(frames, len(state))
        return self.observe_latents(state, self.encode(frames), actions)

    def video(self, state: Imagination, frames: int) -> tuple[Imagination, Tensor, Tensor]:
        """Videos of ``frames`` new frames, as the episodes' texts alone ask for (UPDP; SlowFast-VGen, section 3.4).

        Returns:
            The states at their ends, the frames (N, G, C, h, w), and the actions (N, G, A) that lead along them.

        Raises:
            UserError: ``frames`` below 1.
        """
        if frames < 1:
            raise UserError(f"frames={frames} makes no video; give 1 or more")
        return self.dreamt(state, frames)

    def save_memory(self, state: Imagination, folder: str | Path, episode: int = 0) -> None:
        """Write what one episode has learnt as a PEFT adapter.

        Raises:
            UserError: the checkpoint has no Temp-LoRA, or the folder can't be written to.
        """
        from sfvgen_plan.memory.adapter import save_adapter  # imports PEFT

        save_adapter(state.memory, self.network, Path(folder), episode)

    def load_memory(self, state: Imagination, folder: str | Path) -> Imagination:
        """The episodes with the memory that ``save_memory`` wrote.

        Raises:
            UserError: there is none of this checkpoint.
        """
        from sfvgen_plan.memory.adapter import load_adapter  # imports PEFT

        loaded = load_adapter(Path(folder), self.network).select(torch.zeros_like(state.seed))
        return replace(state, cache=replace(state.cache, memory=loaded))

    def fork(self, state: Imagination, copies: int) -> Imagination:
        """Each episode ``copies`` times, next to each other; forks share their random state and what they remember."""
        return state.select(torch.arange(len(state), device=self.device).repeat_interleave(copies))

    def select(self, state: Imagination, index: Sequence[int] | Tensor) -> Imagination:
        """The episodes named by ``index``, in that order."""
        return state.select(as_long(index, self.device))

    def join(self, states: Sequence[Imagination]) -> Imagination:
        """The episodes of all states, in that order."""
        return Imagination.join(states)

    def reseed(self, state: Imagination, seeds: Sequence[int] | Tensor) -> Imagination:
        """The same episodes with other possible futures."""
        return replace(state, seed=as_long(seeds, self.device))

    def encode(self, frames: np.ndarray) -> Tensor:
        """Frames (..., H, W, 3) uint8 -> standardised latents (..., C, h, w)."""
        with self._precision():
            return self.pipeline.encode(frames)

    def decode(self, latents: Tensor) -> np.ndarray:
        """Standardised latents (..., C, h, w) -> frames (..., H, W, 3) uint8."""
        with self._precision():
            return self.pipeline.decode(latents)

    def _features(self, texts: Sequence[str]) -> Tensor:
        """(N, E) of texts, each embedded once."""
        if unknown := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(unknown, self.pipeline.embed(unknown)[1], strict=True))
        return torch.stack([self._known[text] for text in texts])

    def _precision(self) -> torch.autocast:
        """That of the autoencoder: bfloat16 on a GPU unless it is to be exact."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda" and not self.exact)

    def _check_frames(self, frames: np.ndarray, count: int) -> None:
        shape = self.checkpoint.frame_shape
        fits = frames.ndim == 5 and frames.shape[2:] == shape and frames.shape[1] > 0
        if not fits or len(frames) != count or frames.dtype != np.uint8:
            raise UserError(
                f"frames of shape {frames.shape} and type {frames.dtype} don't fit {count} episodes of the "
                f"checkpoint's size: give ({count}, P, {shape[0]}, {shape[1]}, 3) uint8 from camera "
                f"{self.checkpoint.camera!r}"
            )
