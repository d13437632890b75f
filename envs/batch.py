"""Imagined episodes side by side as values: what the single and the vector environment have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.envs.checks import check_at_least_one
from sfvgen_plan.envs.observation import Observer, load_on
from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulation import Outcome, as_long

LARGEST_SCENE = 2**63


@dataclass(frozen=True)
class Episodes:
    """N imagined episodes under way; never changed in place."""

    imagination: Imagination  # the learned simulator's state
    decisions: np.ndarray  # (N,) taken since the start
    latched: np.ndarray  # (N,) bool, solved at any decision so far
    over: np.ndarray  # (N,) bool, the task has ended by itself

    def __len__(self) -> int:
        return len(self.decisions)

    def select(self, index: np.ndarray) -> Episodes:
        """The episodes named by ``index``, in that order."""
        counters = (self.decisions[index], self.latched[index], self.over[index])
        return Episodes(self.imagination.select(self._where(index)), *counters)

    def replaced(self, index: np.ndarray, part: Episodes) -> Episodes:
        """The same episodes, but those that ``index`` names, in rising order, are the ones of ``part``."""
        if len(index) == len(self):
            return part
        decisions, latched, over = self.decisions.copy(), self.latched.copy(), self.over.copy()
        decisions[index], latched[index], over[index] = part.decisions, part.latched, part.over
        return Episodes(self.imagination.replaced(self._where(index), part.imagination), decisions, latched, over)

    def to(self, device: torch.device) -> Episodes:
        """On another device."""
        return replace(self, imagination=self.imagination.to(device))

    def _where(self, index: np.ndarray) -> Tensor:
        return as_long(index.tolist(), self.imagination.seed.device)


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


class ImaginedBatch:
    """One task of a checkpoint, imagined in any number of episodes at once. Holds no episode itself. Raises UserError:
    a task that is not in the checkpoint, a missing or damaged checkpoint, an unusable device, a number out of range, an
    unknown mode, ``memory=True`` for a checkpoint without memory layers.

    Args:
        task: a task that the checkpoint lists, with or without its family's prefix, such as "metaworld/".
        checkpoint: folder, name in the package, or a loaded checkpoint; None is the bundled one.
        memory: episodes remember what they show; None: where the checkpoint has memory layers.
        sampler_steps: denoising steps per decision.
        max_decisions: decisions until truncation, the horizon.
        device: a torch device; "auto" is the GPU if there is one. A loaded checkpoint stays where it is.
        obs_mode: "pixels", "latent" or "state", see ``sfvgen_plan.envs.observation``.
        exact: compute in float32 even where bfloat16 is faster.
        compiled: compile the step on a GPU; None: do.
    """

    def __init__(
        self,
        task: str,
        checkpoint: str | Path | Checkpoint | None = None,
        memory: bool | None = None,
        sampler_steps: int = 1,
        max_decisions: int = 100,
        device: str = "auto",
        obs_mode: str = "pixels",
        exact: bool = False,
        compiled: bool | None = None,
    ) -> None:
        check_at_least_one(max_decisions=max_decisions, sampler_steps=sampler_steps)
        for name, given in (("memory", memory), ("compiled", compiled)):
            if given is not None and not isinstance(given, bool):
                raise UserError(f"{name}={given!r} is neither True nor False; give one of them, or leave it out")
        if not isinstance(task, str):
            raise UserError(f"task={task!r} is no name; give one that the checkpoint lists")
        self.checkpoint = load_on(checkpoint, device)
        card = self.checkpoint.card
        self.task = task if task in card.tasks else task.rpartition("/")[2]
        self.checkpoint.task_index(self.task)
        self.instruction = card.tasks[self.task]
        self.simulator = self.checkpoint.simulator(sampler_steps, memory, exact, compiled=compiled is not False)
        self.max_decisions = max_decisions
        self.observer = Observer(self.simulator, obs_mode)
        self.observation_space = self.observer.space
        self.actions = self.checkpoint.actions
        self.action_space = self.actions.space
        self.render_fps = max(1, card.raw_steps_per_second // card.repeat)

    @property
    def decisive(self) -> dict[str, Any]:
        """Settings that the future of its episodes depends on."""
        own = self.simulator
        return {"sampler_steps": int(own.sampler_steps), "exact": bool(own.exact), "memory": bool(own.memory)}

    def begin(self, scenes: Sequence[int], frames: np.ndarray | None = None) -> tuple[Episodes, Seen]:
        """Start an episode for every scene number, from the checkpoint's start frames, which the numbers go through in
        turn, or from frames (N, P, size, size, 3) uint8. Raises UserError: neither the checkpoint nor ``frames`` has a
        start frame."""
        tasks = [self.task] * len(scenes)
        texts = self.observer.texts(tasks, [0 if frames is None else frames.shape[1] - 1] * len(scenes))
        if frames is None:
            starts = self.checkpoint.starts.get(self.task)
            if starts is None or not len(starts):
                raise UserError(
                    f"task={self.task!r} has no start frame in the checkpoint {self.checkpoint.path}; "
                    'give reset(options={"frames": ...})'
                )
            index = as_long([scene % len(starts) for scene in scenes], starts.device)
            state = self.simulator.begin_latents(starts[index][:, None], tasks, scenes, texts)
        else:
            state = self.simulator.begin(frames, tasks, scenes, texts)
        episodes = Episodes(state, np.zeros(len(scenes), np.int64), *np.zeros((2, len(scenes)), np.bool_))
        return episodes, self.look(episodes)

    def advance(self, episodes: Episodes, actions: np.ndarray) -> tuple[Episodes, Seen]:
        """Every episode after its action (N, A) in [-1, 1], as ``checked_actions`` gives them: one pass for all."""
        told = self.observer.told(episodes.imagination)
        state, outcome = self.simulator.imagine(told, torch.as_tensor(actions, dtype=torch.float32)[:, None])
        return self._seen(Episodes(state, episodes.decisions + 1, episodes.latched, episodes.over), outcome)

    def look(self, episodes: Episodes) -> Seen:
        """The newest moment again."""
        return self._seen(episodes, self.simulator.read(episodes.imagination))[1]

    def frames(self, episodes: Episodes) -> np.ndarray:
        """The newest frames (N, size, size, 3) uint8."""
        return self.observer.frames(episodes.imagination)

    def _seen(self, episodes: Episodes, outcome: Outcome) -> tuple[Episodes, Seen]:
        """Before the first decision nothing counts as success, or as an end."""
        observation, told = self.observer.seen(episodes.imagination, outcome)
        success = (told["success"] > 0.5) & (episodes.decisions > 0)
        latched, over = episodes.latched | success, episodes.over
        if "termination" in told:
            over = (told["termination"] > 0.5) & (episodes.decisions > 0)
        info: dict[str, np.ndarray] = {
            "success": success,
            "success_latched": latched.copy(),
            "is_success": latched.copy(),  # as Stable-Baselines3 calls it
            "success_probability": told["success"],
            "estimates": told["estimates"],
            "value": told["value"],
        }
        after = Episodes(episodes.imagination, episodes.decisions, latched, over)
        return after, Seen(observation, told["reward"], info)
