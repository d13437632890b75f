"""Where imagined rollouts begin and end, so that an agent gets in reality what it gets there: they branch from real
states, anywhere in real episodes, and are no longer than the simulator can be trusted (Janner et al. 2019, MBPO)."""

import numpy as np
import torch

from sfvgen_plan.data.episodes import EpisodeArrays
from sfvgen_plan.model.checkpoint import Checkpoint

BRANCHES = 512  # real states that rollouts branch from
WINDOWS = 64
TRUSTED_ERROR = 0.5
"""Largest error of an imagined reward that is trusted, as a share of how far real rewards lie from their mean."""


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
    texts = [checkpoint.told(task, episodes.descriptions[e]) for task, (e, _) in zip(tasks, chosen, strict=True)]
    state = simulator.begin(frames, tasks, list(range(len(chosen))), texts)
    actions = torch.from_numpy(episodes.actions[steps]).to(simulator.device)
    imagined = simulator.imagine(state, actions)[1].reward.float().cpu().numpy()
    real = episodes.reward[steps]
    error = np.abs(imagined - real).mean(0)
    far = error > TRUSTED_ERROR * max(1e-6, float(np.abs(real - real.mean()).mean()))
    return int(np.argmax(far)) + (not far.any()) * longest or 1
