"""The learned simulator: imagined episodes as values, moved on by one denoising pass for the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.anchors import Anchor
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.captured import CapturedLearning
from sfvgen_plan.memory.learning import FastLearning, Given
from sfvgen_plan.memory.weights import Memory, applied, fresh_memory, stack
from sfvgen_plan.model import noise
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.model.heads import ActionPrior
from sfvgen_plan.model.motion import followed
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.model.unet import short_attention
from sfvgen_plan.simulation import Outcome, as_long

MOST_SEQUENCES = 65_535
"""Every place of a latent is a sequence over time; CUDA's kernels for short ones take no more at once."""


@dataclass(frozen=True)
class Imagination:
    """State of N imagined episodes. A snapshot is this value: context, memory and random state.

    Attributes:
        context: (N, K, C, h, w) the newest frames in latent space, oldest first: the last pass's clean frames and
            the frames that it made. With memory: the frames of all passes since the last ``remember``, behind its own
            clean frames; the newest ``CONTEXT_WINDOW`` at most. With the rule "whole": all frames of the episode.
        task: (N,) index into the checkpoint's tasks.
        seed, step: (N,) random state: which stream, and how many passes were drawn from it.
        memory: Temp-LoRA of the episodes, or None.
        actions: (N, K, I) what the denoiser is told of the action that led into each frame of the context, zeros where
            none did; kept for the rule "output" alone.
        anchor: where the next passes start; None: at the newest frames.
        track: (N, D + H) where the robot is at the newest frame, for a checkpoint that follows it (see ``Motion``).
    """

    context: Tensor
    task: Tensor
    seed: Tensor
    step: Tensor
    memory: Memory | None = None
    actions: Tensor | None = None
    anchor: Anchor | None = None
    track: Tensor | None = None

    def __len__(self) -> int:
        return len(self.context)

    def select(self, index: Tensor) -> Imagination:
        """The episodes named by ``index``, in that order; memories are shared, not copied."""
        memory = self.memory.select(index) if self.memory is not None else None
        actions = self.actions[index] if self.actions is not None else None
        anchor = self.anchor.select(index) if self.anchor is not None else None
        track = self.track[index] if self.track is not None else None
        return Imagination(
            self.context[index], self.task[index], self.seed[index], self.step[index], memory, actions, anchor, track
        )


class LearnedSimulator:
    """``Simulator`` on a checkpoint; see ``sfvgen_plan.simulation`` for shapes.

    Args:
        checkpoint: the model and what it was trained for.
        sampler_steps: denoising steps per pass.
        memory: hyperparameters of fast learning; None plays without memory.
        exact: compute in float32 even where bfloat16 is faster.
        context_frames: clean frames that a chunk is generated from; None: as many as the checkpoint was trained with.
        anchor_every: decisions that are imagined from the same clean frames, the earlier ones anew with every pass:
            one at a time, decisions come out as exact as in chunks of so many. 1: passes go on where the last ended.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sampler_steps: int = 3,
        memory: FastLearning | None = None,
        exact: bool = False,
        context_frames: int | None = None,
        anchor_every: int = 1,
    ) -> None:
        if sampler_steps < 1:
            raise UserError(f"sampler_steps={sampler_steps} must be 1 or more")
        if context_frames is not None and not 1 <= context_frames < CONTEXT_WINDOW:
            raise UserError(f"context_frames={context_frames} is out of range; give 1 to {CONTEXT_WINDOW - 1}, or None")
        if checkpoint.pipeline.heads is None:
            raise UserError(
                f"checkpoint {checkpoint.path} has no heads, so nothing tells its rewards; "
                "train one from a recipe with heads, such as train=default"
            )
        self.checkpoint = checkpoint
        self.pipeline = checkpoint.pipeline
        self.sampler_steps = sampler_steps
        self.fast_learning = memory
        self._learn = CapturedLearning(self.pipeline.unet, self.pipeline.scheduler)
        self.exact = exact
        self.action_dim = checkpoint.card.action_dim
        self.input_dim = checkpoint.pipeline.unet.config.action_dim
        self.context_frames = context_frames or checkpoint.card.context_frames
        most = CONTEXT_WINDOW - self.context_frames
        if not 1 <= anchor_every <= most:
            raise UserError(f"anchor_every={anchor_every} is out of range; give 1 to {most} decisions")
        self.anchor_every = anchor_every
        self.denoiser_calls = 0
        self.device = checkpoint.pipeline.device
        self._text, self._pooled = self.pipeline.embed(list(checkpoint.card.tasks.values()))

    @torch.inference_mode()
    def begin(self, frames: np.ndarray, tasks: Sequence[str], seeds: Sequence[int]) -> Imagination:
        """Start N episodes from frames (N, P, H, W, 3) uint8 of the checkpoint's size and camera, oldest first.

        Raises:
            UserError: wrong frame shape, or a task that the checkpoint does not list.
        """
        size = self.checkpoint.size
        fits = frames.ndim == 5 and frames.shape[2:] == (size, size, 3) and frames.shape[1] > 0
        if not fits or len(frames) != len(tasks) or frames.dtype != np.uint8:
            raise UserError(
                f"frames of shape {frames.shape} and type {frames.dtype} don't fit {len(tasks)} episodes of the "
                f"checkpoint's size: give ({len(tasks)}, P, {size}, {size}, 3) uint8 from camera "
                f"{self.checkpoint.camera!r}"
            )
        with self.precision():
            latents = self.pipeline.encode(frames)
        return self.begin_latents(latents, tasks, seeds)

    @torch.inference_mode()
    def begin_latents(self, latents: Tensor, tasks: Sequence[str], seeds: Sequence[int] | Tensor) -> Imagination:
        """Start N episodes from standardised latents (N, P, C, h, w), oldest first."""
        task = as_long([self.checkpoint.task_index(t) for t in tasks], self.device)
        seed = as_long(seeds, self.device)
        if not len(latents) == len(task) == len(seed):
            raise UserError(f"seeds={len(seed)} and tasks={len(task)} don't fit {len(latents)} episodes; give one each")
        missing = max(self.context_frames, 2) - latents.shape[1]  # the heads read pairs of frames
        if missing > 0:  # before the first frame the scene stood still
            latents = torch.cat([latents[:, :1].expand(-1, missing, -1, -1, -1), latents], dim=1)
        memory = None
        if self.fast_learning is not None:
            settings = self.fast_learning
            memory = fresh_memory(self.pipeline.unet, seed, settings.rank, settings.alpha, settings.targets)
        actions = None
        if self._keeps_actions:
            actions = latents.new_zeros(*latents.shape[:2], self.input_dim, dtype=torch.float32)
        latents, step, anchor = latents.float(), torch.zeros_like(seed), None
        if self.anchor_every > 1:
            anchor = Anchor.at(latents[:, -self.context_frames :], seed, step, self.input_dim, self.anchor_every)
        return Imagination(latents, task, seed, step, memory, actions, anchor, self.located(latents, task))

    def located(self, latents: Tensor, task: Tensor) -> Tensor | None:
        """Where the robot is (N, D + H), as the newest two of frames (N, P, C, h, w) of the tasks (N,) show it; None
        for a checkpoint that follows no robot."""
        motion = self.pipeline.motion
        return motion.start(latents[:, -2:].float(), self._pooled[task]) if motion is not None else None

    @torch.inference_mode()
    def imagine(self, state: Imagination, actions: Tensor) -> tuple[Imagination, Outcome]:
        """Execute actions (N, G, A) in [-1, 1]: G decisions in one denoising pass.

        Raises:
            UserError: actions of another shape, more than fit into the context window, or not finite.
        """
        most = CONTEXT_WINDOW - self.context_frames
        shape = tuple(actions.shape)
        if len(shape) != 3 or (shape[0], shape[2]) != (len(state), self.action_dim) or not 1 <= shape[1] <= most:
            raise UserError(
                f"actions of shape {shape} don't fit; give ({len(state)}, G, {self.action_dim}) with G from 1 to {most}"
            )
        if not bool(actions.isfinite().all()):
            raise UserError("actions hold NaN or infinity; give numbers in [-1, 1]")
        inputs, tracks = self._followed(state.track, actions.clamp(-1, 1).to(state.context))
        context = state.context[:, -self.context_frames :]
        with self.precision():
            latents, anchor = self._continued(state, context, inputs)
            outcome = self._read(torch.cat([context[:, -1:], latents], dim=1), state.task, tracks)
        kept = context if state.memory is None else state.context  # a chunk to remember may take several passes
        newest = torch.cat([kept, latents], dim=1)
        led = torch.cat([state.actions, inputs], dim=1) if state.actions is not None else None
        if not self._keeps_all:
            newest = newest[:, -CONTEXT_WINDOW:]
            led = led[:, -CONTEXT_WINDOW:] if led is not None else None
        track = tracks[:, -1] if tracks is not None else None
        moved = replace(state, context=newest, step=state.step + 1, actions=led, anchor=anchor, track=track)
        return moved, outcome

    @torch.inference_mode()
    def read(self, state: Imagination) -> Outcome:
        """What the heads say of every episode's newest frame (G = 1)."""
        tracks = state.track[:, None] if state.track is not None else None
        with self.precision():
            return self._read(state.context[:, -2:], state.task, tracks)

    def _followed(self, track: Tensor | None, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the denoiser is told (N, G, I) of actions (N, G, A), and the tracks (N, G, D + H) if there are any."""
        motion = self.pipeline.motion
        return (actions, None) if track is None else followed(motion, track, actions)

    def remember(self, state: Imagination) -> Imagination:
        """Fast learning on the newest chunk and its input, Algorithm 1a. The chunk is what was imagined since the last
        ``remember``, in one pass or in several; its last frames are the next chunk's input. The rule "whole" learns
        from everything since the start.

        Raises:
            UserError: the simulator plays without memory, or its rule needs actions that the state does not have.
        """
        kept = max(self.context_frames, 2)
        spare = kept - self.context_frames  # the heads read pairs, a chunk may be generated from one frame
        memory = self._learnt(state, spare, self.context_frames)
        if self._keeps_all:
            return replace(state, memory=memory)
        led = state.actions[:, -kept:] if state.actions is not None else None
        return replace(state, context=state.context[:, -kept:], memory=memory, actions=led)

    @property
    def _keeps_actions(self) -> bool:
        return self.fast_learning is not None and self.fast_learning.keeps_actions

    @property
    def _keeps_all(self) -> bool:
        return self.fast_learning is not None and self.fast_learning.keeps_all

    def _learnt(self, state: Imagination, spare: int, past: int) -> Memory:
        """The memory after learning the context but its first ``spare`` frames; ``past`` of the others are input."""
        if state.memory is None or self.fast_learning is None:
            raise UserError("memory=None: this simulator plays without memory; make it with memory=FastLearning()")
        given = None
        if self._keeps_actions:
            if state.actions is None:
                raise UserError(
                    "rule='output' learns from actions, which this state was not begun with or has lost; "
                    "use LearnedSimulator's own methods, or rule='local'"
                )
            given = Given(past, state.actions[:, spare:], self._text[state.task])
        with self.precision():
            memory, _ = self._learn(state.memory, state.context[:, spare:], state.seed, self.fast_learning, given)
        return memory

    def remember_frames(
        self,
        memories: Sequence[Memory | None],
        frames: np.ndarray,
        actions: np.ndarray,
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> list[Memory]:
        """Fast learning on one real chunk of each of E episodes, (E, P+T, H, W, 3) uint8 with the P frames before it;
        None is no memory yet.

        Algorithm 1a gives fast learning no condition, so ``actions`` (E, T, A) and ``tasks`` matter to the rule
        "output" alone. For the rule "whole" give all frames since the episode's start.
        """
        state = self.begin(frames, tasks, seeds)
        past = state.context.shape[1] - actions.shape[1]
        if state.actions is not None:
            held = torch.as_tensor(actions, dtype=torch.float32, device=self.device).clamp(-1, 1)
            with torch.inference_mode():
                led, _ = self._followed(self.located(state.context[:, :past], state.task), held)
            state = replace(state, actions=torch.cat([state.actions[:, :past], led], dim=1))
        memory = self._learnt(self.recall(state, memories), 0, past)
        return [memory.select(as_long([n], self.device)).owned() for n in range(len(frames))]

    def recall(self, state: Imagination, memories: Sequence[Memory | None]) -> Imagination:
        """The E imagined episodes with these memories; None stands for a fresh one."""
        if state.memory is None:
            raise UserError("memory=None: this simulator plays without memory; make it with memory=FastLearning()")
        fresh = [state.memory.select(as_long([n], self.device)) for n in range(len(state))]
        return replace(state, memory=stack([own or new for own, new in zip(memories, fresh, strict=True)]))

    def fork(self, state: Imagination, copies: int) -> Imagination:
        """Each episode ``copies`` times, next to each other; forks share their random state and their memory."""
        index = torch.arange(len(state), device=self.device).repeat_interleave(copies)
        return self.select(state, index)

    def select(self, state: Imagination, index: Sequence[int] | Tensor) -> Imagination:
        """The episodes named by ``index``, in that order."""
        return state.select(as_long(index, self.device))

    def reseed(self, state: Imagination, seeds: Sequence[int] | Tensor) -> Imagination:
        """The same episodes with other possible futures."""
        seed = as_long(seeds, self.device)
        anchor = state.anchor.reseeded(seed) if state.anchor is not None else None
        return replace(state, seed=seed, anchor=anchor)

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents (N, G, C, h, w) -> frames (N, G, H, W, 3) uint8."""
        with torch.inference_mode(), self.precision():
            return self.pipeline.decode(latents)

    def generate(
        self, state: Imagination, context: Tensor, actions: Tensor | None, text: Tensor, drawn: Tensor
    ) -> Tensor:
        """New latents (N, G, C, h, w) with the memories of ``state``, in as many passes as the attention kernels need.

        Args:
            state: N episodes.
            context: (N, f_p, C, h, w) clean frames.
            actions: (N, G, I), or None for what the text alone asks for.
            text: (N, L, E) token features.
            drawn: (N, G, C, h, w) noise.
        """
        passes = -(-len(state) * context.shape[-2] * context.shape[-1] // MOST_SEQUENCES)
        if passes > 1:
            parts = torch.arange(len(state), device=self.device).tensor_split(passes)
            return torch.cat(
                [
                    self.generate(
                        state.select(rows),
                        context[rows],
                        None if actions is None else actions[rows],
                        text[rows],
                        drawn[rows],
                    )
                    for rows in parts
                ]
            )
        with applied(self.pipeline.unet, state.memory), short_attention(self.device):
            return self.pipeline.generate(context, actions, text, drawn, self.sampler_steps)

    def _continued(self, state: Imagination, newest: Tensor, actions: Tensor) -> tuple[Tensor, Anchor | None]:
        """The frames (N, G, C, h, w) after what the denoiser is told of the ``actions`` (N, G, I), and where the next
        pass starts."""
        new, shape = actions.shape[1], newest.shape[2:]
        if state.anchor is None:
            self.denoiser_calls += self.sampler_steps
            drawn = noise.normal(state.seed, state.step, (new, *shape))
            return self.generate(state, newest, actions, self._text[state.task], drawn), None
        anchor = state.anchor.moved(newest, state.seed, state.step, new)
        latents = newest.new_empty(len(state), new, *shape)
        for taken, rows in anchor.groups():
            self.denoiser_calls += self.sampler_steps
            part, start, held = state, anchor, actions
            if len(rows) < len(state):
                part, start, held = state.select(rows), anchor.select(rows), actions[rows]
            led = torch.cat([start.actions[:, :taken], held], dim=1)
            drawn = start.drawn(part.seed, taken, (taken + new, *shape))
            made = self.generate(part, start.context, led, self._text[part.task], drawn)
            latents[rows] = made[:, taken:].float()
        return latents, anchor.taking(actions, state.seed)

    def _read(self, latents: Tensor, task: Tensor, tracks: Tensor | None) -> Outcome:
        """Heads on every pair of successive frames of (N, G + 1, C, h, w); of a robot that is followed the read-outs of
        ``tracks`` (N, G, D + H)."""
        count, frames = latents.shape[0], latents.shape[1] - 1
        pairs = torch.stack([latents[:, :-1], latents[:, 1:]], dim=2).flatten(0, 1)
        text = self._pooled[task].repeat_interleave(frames, dim=0)
        readout = self.pipeline.heads(pairs, text)
        estimates = readout.estimates.float().view(count, frames, -1)
        if tracks is not None:
            estimates = self.pipeline.motion.estimates(tracks)
        return Outcome(
            reward=readout.reward.float().view(count, frames),
            success=readout.success.float().sigmoid().view(count, frames),
            value=readout.value.float().view(count, frames),
            estimates=estimates,
            latents=latents[:, 1:],
        )

    def precision(self) -> AbstractContextManager[None]:
        """The arithmetic of imagination: float32 if it is to be exact, else what the device is fast at."""
        return nullcontext() if self.exact else precision(self.device)


class LatentPrior:
    """A behaviour-cloned prior on imagined states."""

    def __init__(self, network: ActionPrior, checkpoint: Checkpoint) -> None:
        self.network = network
        _, self._pooled = checkpoint.pipeline.embed(list(checkpoint.card.tasks.values()))

    @torch.inference_mode()
    def act(self, state: Imagination) -> Tensor:
        """Actions (N, A) in [-1, 1]."""
        return self.network(state.context[:, -2:], self._pooled[state.task]).clamp(-1, 1)


def precision(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 where it is faster (GPU, and CPUs with AVX512-BF16 or AMX); float32 elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    fast = device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)
