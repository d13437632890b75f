"""An agent of Stable-Baselines3 that is trained in a learned simulator, again after each time that this has learnt.

Its rollouts branch from real states, anywhere in the episodes played so far, and are no longer than the simulator can
be trusted (Janner et al. 2019, MBPO), so that it gets in reality what it gets there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvgen_plan.agents.algorithms import TrainingSettings
from sfvgen_plan.agents.training import Progress, read_record, train
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.model.checkpoint import Checkpoint

BRANCHES = 512
"""Real states that rollouts branch from."""

WINDOWS = 64
TRUSTED_ERROR = 0.5
"""Largest error of an imagined reward that is trusted, as a share of how far real rewards lie from their mean."""


@dataclass(frozen=True)
class Learner:
    """How the agent is trained in every round; ``settings.horizon`` is the longest that a rollout may be."""

    algorithm: str
    task: str
    settings: TrainingSettings
    hyperparameters: Mapping[str, Any]

    def trained(self, checkpoint: Checkpoint, data: Path, folder: Path, last: Path, progress: Progress) -> Path:
        """The zip of an agent trained in the checkpoint.

        Args:
            data: dataset whose states rollouts branch from; without it they begin as the checkpoint's episodes do.
            folder: of the agent, as ``train`` makes it; a training that was killed goes on.
            last: zip of the agent to go on from; one that isn't there is none.
        """
        settings = self.settings
        if data.exists():
            episodes = load_episodes(data, tasks=[self.task])
            checkpoint = replace(checkpoint, starts={self.task: branches(checkpoint, episodes)})
            # One that was killed goes on as it began, whatever the last digits of the device.
            horizon = read_record(folder).get("settings", {}).get("horizon")
            settings = replace(settings, horizon=horizon or trusted(checkpoint, episodes, settings.horizon))
        start = last if last.exists() else None
        given = dict(self.hyperparameters)
        return train(folder, self.algorithm, self.task, checkpoint, settings, given, progress=progress, start=start)


def branches(checkpoint: Checkpoint, episodes: EpisodeArrays) -> torch.Tensor:
    """Latents (S, C, h, w) of real states, spread over all episodes."""
    count = min(BRANCHES, len(episodes.frames))
    chosen = np.linspace(0, len(episodes.frames) - 1, count).astype(int)
    return checkpoint.pipeline.encode(episodes.frames[chosen]).float()


@torch.no_grad()
def trusted(checkpoint: Checkpoint, episodes: EpisodeArrays, longest: int) -> int:
    """Decisions for which rewards imagined from real states, along real actions, stay near the real ones; from 1 to
    ``longest``, and at most half of what an episode has."""
    longest = max(1, min(longest, int(episodes.lengths.max()) // 2))
    begins = [
        (e, t) for e, length in enumerate(episodes.lengths.tolist()) for t in range(0, length - longest + 1, longest)
    ]
    chosen = [begins[n] for n in np.linspace(0, len(begins) - 1, min(WINDOWS, len(begins))).astype(int)]
    frames = np.stack([episodes.frames[episodes.episode_start[e] + t] for e, t in chosen])[:, None]
    steps = np.stack([episodes.action_start[e] + t + np.arange(longest) for e, t in chosen])
    simulator = checkpoint.simulator()
    tasks = [episodes.tasks[episodes.task[e]] for e, _ in chosen]
    state = simulator.begin(frames, tasks, list(range(len(chosen))))
    actions = torch.from_numpy(episodes.actions[steps]).to(simulator.device)
    imagined = simulator.imagine(state, actions)[1].reward.float().cpu().numpy()
    real = episodes.reward[steps]
    error = np.abs(imagined - real).mean(0)
    far = error > TRUSTED_ERROR * max(1e-6, float(np.abs(real - real.mean()).mean()))
    return int(np.argmax(far)) + (not far.any()) * longest or 1
