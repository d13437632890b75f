"""Imagined episodes side by side as values: what the single and the vector environment have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.loading import load_on
from sfvgen_plan.envs.observation import Observer
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning
from sfvgen_plan.memory.weights import Memory, target_layers
from sfvgen_plan.model import noise
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.model.pipeline import CONTEXT_WINDOW
from sfvgen_plan.simulation import Outcome, as_long
from sfvgen_plan.simulator import Imagination

FUTURES_STREAM = 21


class Settings(TypedDict, total=False):
    """Keyword arguments that ``sfvgen/Imagined-v0`` takes, single and vector; see ``ImaginedBatch``."""

    memory: bool | FastLearning
    memory_every: int
    sampler_steps: int
    max_decisions: int
    device: str
    obs_mode: str
    futures: int
    exact: bool
    anchor_every: int


@dataclass(frozen=True)
class Episodes:
    """N imagined episodes under way; never changed in place.

    Attributes:
        imagination: the learned simulator's state.
        lengths: (N,) how many of the newest context frames are the episode's own; what comes before is padding.
        decisions: (N,) taken since the start.
        latched: (N,) bool, solved at any decision so far.
    """

    imagination: Imagination
    lengths: np.ndarray
    decisions: np.ndarray
    latched: np.ndarray

    def __len__(self) -> int:
        return len(self.decisions)

    def select(self, index: np.ndarray) -> Episodes:
        """The episodes named by ``index``, in that order; memories are shared, not copied."""
        chosen = self.imagination.select(_tensor(index, self.imagination.seed.device))
        chosen = replace(chosen, actions=None)  # which ``replaced`` could not merge
        return Episodes(chosen, self.lengths[index], self.decisions[index], self.latched[index])

    def replaced(self, index: np.ndarray, part: Episodes) -> Episodes:
        """The same episodes, but those that ``index`` names, in rising order, are the ones of ``part``."""
        if len(index) == len(self):
            return part
        old, new = self.imagination, part.imagination
        where = _tensor(index, old.seed.device)
        frames = max(old.context.shape[1], new.context.shape[1])
        memory = None
        if old.memory is not None and new.memory is not None:
            memory = old.memory.replaced(where, new.memory)
        anchor = None
        if old.anchor is not None and new.anchor is not None:
            anchor = old.anchor.replaced(where, new.anchor)
        track = None
        if old.track is not None and new.track is not None:
            track = old.track.index_copy(0, where, new.track)
        state = Imagination(
            _padded(old.context, frames).index_copy(0, where, _padded(new.context, frames)),
            old.task.index_copy(0, where, new.task),
            old.seed.index_copy(0, where, new.seed),
            old.step.index_copy(0, where, new.step),
            memory,
            anchor=anchor,
            track=track,
        )
        merged = Episodes(
            state,
            _put(self.lengths, index, part.lengths),
            _put(self.decisions, index, part.decisions),
            _put(self.latched, index, part.latched),
        )
        return merged.trimmed()

    def trimmed(self) -> Episodes:
        """Without padding that no episode needs."""
        context = self.imagination.context[:, -int(self.lengths.max()) :]
        return replace(self, imagination=replace(self.imagination, context=context))


@dataclass(frozen=True)
class Seen:
    """What N environments return: observations (N, ...), rewards (N,) float64, and an array (N, ...) per info key."""

    observation: np.ndarray
    reward: np.ndarray
    info: dict[str, np.ndarray]

    def put(self, index: np.ndarray, part: Seen) -> None:
        """Overwrite the environments named by ``index`` with those of ``part``."""
        self.observation[index] = part.observation
        self.reward[index] = part.reward
        for key, values in part.info.items():
            self.info[key][index] = values

    def single(self) -> dict[str, Any]:
        """The info of the only environment, in Python's own numbers."""
        return {key: _plain(values[0]) for key, values in self.info.items()}


class ImaginedBatch:
    """One task of a checkpoint, imagined in any number of episodes at once. Holds no episode itself.

    Args:
        task: a task that the checkpoint lists, with or without the "metaworld/" prefix.
        checkpoint: folder, name in the package, or a loaded checkpoint; None is the bundled one.
        memory: learn each episode while it is imagined (Temp-LoRA); True is the paper's hyperparameters.
        memory_every: decisions per learnt chunk.
        sampler_steps: denoising steps per decision.
        max_decisions: decisions until truncation, the horizon.
        device: a torch device; "auto" is the GPU if there is one. A loaded checkpoint stays where it is.
        obs_mode: "pixels", "latent" or "state", see ``sfvgen_plan.envs.observation``.
        futures: possible futures imagined of each decision, under different noise. The first is what happens; how far
            the others' rewards lie apart is ``info["uncertainty"]``.
        exact: compute in float32 even where bfloat16 is faster.
        anchor_every: decisions imagined from the same clean frames, see ``LearnedSimulator``; None: as many as in
            training. 1 is at least twice as fast, and drifts away sooner.

    Raises:
        UserError: a task that is not in the checkpoint, a missing or damaged checkpoint, an unusable device, a number
            out of range, an unknown mode.
    """

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        memory: bool | FastLearning = False,
        memory_every: int = 8,
        sampler_steps: int = 3,
        max_decisions: int = 100,
        device: str = "auto",
        obs_mode: str = "pixels",
        futures: int = 1,
        exact: bool = False,
        anchor_every: int | None = None,
    ) -> None:
        check_at_least_one(max_decisions=max_decisions, futures=futures, memory_every=memory_every)
        if memory is not None and not isinstance(memory, (bool, FastLearning)):
            raise UserError(f"memory={memory!r} is neither True nor False; give one of them, or a FastLearning")
        self.checkpoint = load_on(checkpoint, device)
        card = self.checkpoint.card
        longest = CONTEXT_WINDOW - card.context_frames
        if memory_every > longest:
            raise UserError(f"memory_every={memory_every} is out of range; give 1 to {longest} decisions")
        if not isinstance(task, str):
            raise UserError(f"task={task!r} is no name; give one of {', '.join(card.tasks)}")
        self.task = task if task in card.tasks else task.rpartition("/")[2]
        self.checkpoint.task_index(self.task)
        self.instruction = card.tasks[self.task]
        self.memory = FastLearning() if memory is True else memory or None
        self.simulator = self.checkpoint.simulator(sampler_steps, self.memory, exact, anchor_every=anchor_every)
        self.memory_every, self.max_decisions, self.futures = memory_every, max_decisions, futures
        self.observer = Observer(self.simulator, obs_mode)
        self.observation_space = self.observer.space
        self.action_space = gym.spaces.Box(-1.0, 1.0, (card.action_dim,), np.float32)
        self.render_fps = max(1, family_of(self.task).source.raw_steps_per_second // card.repeat)

    @torch.inference_mode()
    def begin(
        self,
        scenes: Sequence[int],
        frames: np.ndarray | None = None,
        memories: Sequence[Memory | None] | None = None,
    ) -> tuple[Episodes, Seen]:
        """Start an episode for every scene number, from the checkpoint's start frames, which the numbers go through in
        turn, or from frames (N, P, size, size, 3) uint8; with fresh memories, or with those that ``load_memory``
        gave."""
        count = len(scenes)
        if frames is None:
            starts = self._starts()
            chosen = starts[as_long([scene % len(starts) for scene in scenes], starts.device)][:, None]
            state = self.simulator.begin_latents(chosen, [self.task] * count, scenes)
        else:
            state = self.simulator.begin(frames, [self.task] * count, scenes)
        if memories is not None:
            state = self.simulator.recall(state, memories)
        lengths = np.full(count, state.context.shape[1])
        episodes = Episodes(state, lengths, np.zeros(count, np.int64), np.zeros(count, np.bool_))
        return episodes, self.look(episodes)

    @torch.inference_mode()
    def advance(
        self, episodes: Episodes, actions: np.ndarray, moving: np.ndarray | None = None
    ) -> tuple[Episodes, Seen]:
        """Every episode after its action (N, A): one denoising pass. What it says of those that are not ``moving`` (N,)
        is meaningless, but they learn nothing from it."""
        held = torch.as_tensor(actions, dtype=torch.float32, device=self.simulator.device)
        state, outcome, uncertainty = self._imagine(episodes.imagination, held)
        decisions = episodes.decisions + 1
        success = outcome.success[:, 0].float().cpu().numpy() > 0.5
        frames = state.context.shape[1]
        lengths = np.minimum(episodes.lengths + 1, frames) if self.memory else np.full(len(episodes), frames)
        advanced = Episodes(state, lengths, decisions, episodes.latched | success)
        if self.memory is not None:
            due = decisions % self.memory_every == 0
            advanced = self._remember(advanced, due if moving is None else due & moving)
        return advanced, self._seen(advanced, outcome, success, uncertainty)

    @torch.inference_mode()
    def look(self, episodes: Episodes) -> Seen:
        """The newest moment again. Before the first decision nothing counts as success."""
        outcome = self.simulator.read(episodes.imagination)
        success = (outcome.success[:, 0].float().cpu().numpy() > 0.5) & (episodes.decisions > 0)
        return self._seen(episodes, outcome, success, np.zeros(len(episodes)))

    def load_memory(self, folder: str | Path) -> Memory:
        """The memory of one episode, from the PEFT adapter in ``folder``.

        Raises:
            UserError: these episodes are played without memory, or with another kind of it; no such adapter, a damaged
                one, or one of another checkpoint.
        """
        from sfvgen_plan.memory.adapter import load_memory  # imports PEFT

        if self.memory is None:
            raise UserError(
                f"memory={str(folder)!r} is for an environment that learns, and this one plays without memory; make it "
                "with memory=True"
            )
        unet = self.checkpoint.pipeline.unet
        loaded = load_memory(Path(folder), unet, self.checkpoint.hash)
        layers = target_layers(unet, self.memory.targets).keys()
        rank = next(iter(loaded.down.values())).shape[1]
        differences = []
        if rank != self.memory.rank:
            differences.append(f"rank {rank} instead of {self.memory.rank}")
        if not math.isclose(loaded.scale * rank, self.memory.alpha):
            differences.append(f"alpha {loaded.scale * rank:g} instead of {self.memory.alpha:g}")
        if unlike := sorted(layers ^ loaded.down.keys()):
            differences.append(f"{len(loaded.down)} layers instead of {len(layers)}, not both with {unlike[0]}")
        if differences:
            raise UserError(
                f"memory={str(folder)!r} does not fit this environment's ({', '.join(differences)}); make it with the "
                "memory=FastLearning(rank=..., alpha=..., targets=...) that the adapter was learnt with"
            )
        return loaded

    def frames(self, episodes: Episodes) -> np.ndarray:
        """The newest frames (N, size, size, 3) uint8."""
        return self.observer.frames(episodes.imagination)

    def _starts(self) -> Tensor:
        starts = self.checkpoint.starts.get(self.task)
        if starts is None or not len(starts):
            raise UserError(
                f"task={self.task!r} has no start frame in the checkpoint {self.checkpoint.path}; "
                'give reset(options={"frames": ...})'
            )
        return starts

    def _imagine(self, state: Imagination, actions: Tensor) -> tuple[Imagination, Outcome, np.ndarray]:
        """The next states, what the heads say of them, and how far the rewards of possible futures lie apart (N,)."""
        count = len(state)
        if self.futures == 1:
            return *self.simulator.imagine(state, actions[:, None]), np.zeros(count)
        others = noise.bits(state.seed, torch.zeros_like(state.seed), self.futures - 1, FUTURES_STREAM)
        seeds = torch.cat([state.seed[:, None], others], dim=1).flatten()
        many = self.simulator.reseed(self.simulator.fork(state, self.futures), seeds)
        many, outcome = self.simulator.imagine(many, actions.repeat_interleave(self.futures, dim=0)[:, None])
        spread = outcome.reward.double().view(count, self.futures).std(dim=1, correction=0)
        real = torch.arange(count, device=actions.device) * self.futures
        happened = Outcome(
            outcome.reward[real], outcome.success[real], outcome.value[real], outcome.estimates[real], None
        )
        return self.simulator.select(many, real), happened, spread.cpu().numpy()

    def _remember(self, episodes: Episodes, due: np.ndarray) -> Episodes:
        """Fast learning for the episodes whose chunk is full; those with as many frames learn together."""
        for length in np.unique(episodes.lengths[due]):
            index = np.flatnonzero(due & (episodes.lengths == length))
            part = episodes.select(index)
            own = replace(part.imagination, context=part.imagination.context[:, -length:])
            learnt = self.simulator.remember(own)
            lengths = np.full(len(index), learnt.context.shape[1])
            due = due & (episodes.lengths != length)
            episodes = episodes.replaced(index, replace(part, imagination=learnt, lengths=lengths))
        return episodes.trimmed()

    def _seen(self, episodes: Episodes, outcome: Outcome, success: np.ndarray, uncertainty: np.ndarray) -> Seen:
        info: dict[str, np.ndarray] = {
            "success": success,
            "success_latched": episodes.latched.copy(),
            "success_probability": outcome.success[:, 0].double().cpu().numpy(),
            "estimates": outcome.estimates[:, 0].float().cpu().numpy(),
            "value": outcome.value[:, 0].double().cpu().numpy(),
            "instruction": np.full(len(episodes), self.instruction, dtype=object),
        }
        if self.futures > 1:
            info["uncertainty"] = uncertainty
        observation = self.observer.of_imagined(episodes.imagination, outcome)
        return Seen(observation, outcome.reward[:, 0].double().cpu().numpy(), info)


def _tensor(index: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(index.astype(np.int64)).to(device)


def _padded(context: Tensor, frames: int) -> Tensor:
    return F.pad(context, (0, 0) * 3 + (frames - context.shape[1], 0))


def _put(old: np.ndarray, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    new = old.copy()
    new[index] = values
    return new


def _plain(value: Any) -> Any:
    """A number of Python's own; arrays are copied."""
    if isinstance(value, np.generic):
        return value.item()
    return value.copy() if isinstance(value, np.ndarray) else value
