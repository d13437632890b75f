"""What does a model still know of a place when it comes back? Episodes of ``memory/revisit``, shown and then imagined.

The model sees the true frames of the first way out, as in an episode that it plays; from the turning point on it
imagines every frame under the path's actions. Whenever the path shows a place again that was seen at the beginning,
there is one right picture, the one seen then. Only places count that have left the network's window of frames: a model
without memory can but guess those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sfvgen_plan.envs.memory.family import OWN_CAMERA
from sfvgen_plan.envs.memory.make import make_memory
from sfvgen_plan.envs.memory.revisit_env import CAMERA, MemoryRevisitEnv
from sfvgen_plan.envs.memory.revisit_task import NAME
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.places import cosine
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.metrics.toolbox import Toolbox
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

PART = 32
"""Decisions that are imagined at a time, which bounds the memory needed; the result is the same."""


@dataclass(frozen=True)
class TrueEpisode:
    """An episode in the true simulator.

    Attributes:
        seed: of the layout.
        frames: (T + 1, H, W, 3) uint8.
        actions: (T, 4) float32.
        estimates: (T + 1, D) float32, the true values of the read-outs.
        seen: decisions of the first way out, up to its turning point.
        pairs: (K, 2) first visit and revisit, all that lie far enough apart; revisits of the imagined part.
    """

    seed: int
    frames: np.ndarray
    actions: np.ndarray
    estimates: np.ndarray
    seen: int
    pairs: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(K', 2): those of the pairs whose first visit the model was shown."""
        return self.pairs[self.pairs[:, 0] <= self.seen]


@dataclass(frozen=True)
class Dream:
    """What a model imagined after the part that it saw: ``frames`` (T - S, H, W, 3) and ``estimates`` (T - S, D)."""

    frames: np.ndarray
    estimates: np.ndarray


def revisit_env(checkpoint: Checkpoint) -> MemoryRevisitEnv:
    """The true simulator with the checkpoint's frames.

    Raises:
        UserError: it was trained on other tasks, or on another camera.
    """
    checkpoint.task_index(NAME)
    if checkpoint.camera not in (OWN_CAMERA, CAMERA):
        raise UserError(
            f"checkpoint={str(checkpoint.path)!r} was trained with camera={checkpoint.camera!r}, which never leaves; "
            f"give one trained on data collected with camera={OWN_CAMERA!r}"
        )
    env = make_memory(NAME, size=checkpoint.size, camera=checkpoint.camera, repeat=checkpoint.repeat)
    assert isinstance(env, MemoryRevisitEnv)
    return env


def away_of(checkpoint: Checkpoint) -> int:
    """Frames between visit and revisit from which on the network's window doesn't hold both."""
    return int(checkpoint.pipeline.transformer.config.window) + 1


def true_episode(env: MemoryRevisitEnv, seed: int, away: int) -> TrueEpisode:
    """The episode of ``seed``, its path followed to the end."""
    frame, info = env.reset(seed=seed)
    frames, estimates, actions = [frame], [info["estimates"]], env.path
    for action in actions:
        frame, *_, info = env.step(action)
        frames.append(frame)
        estimates.append(info["estimates"])
    again = np.flatnonzero(env.layout.first_visits >= 0)
    seen = int(again[0]) - 1  # the first frame that shows an old place comes right after the turning point
    pairs = env.layout.revisits(away)
    return TrueEpisode(seed, np.stack(frames), actions, np.stack(estimates), seen, pairs[pairs[:, 1] > seen])


@torch.no_grad()
def imagine(simulator: LearnedSimulator, episodes: Sequence[TrueEpisode]) -> list[Dream]:
    """The rests of the episodes as the model imagines them after it has seen the first ways out, side by side: each
    comes out as it would alone."""
    states = []
    for episode in episodes:
        state = simulator.begin(episode.frames[None, :1], [NAME], [episode.seed])
        told = torch.from_numpy(episode.actions[None, : episode.seen])
        states.append(simulator.observe(state, episode.frames[None, 1 : episode.seen + 1], told))
    state, rests = simulator.join(states), [torch.from_numpy(episode.actions[episode.seen :]) for episode in episodes]
    frames, estimates = [], []
    for part in torch.nn.utils.rnn.pad_sequence(rests, batch_first=True).split(PART, dim=1):
        state, outcome = simulator.imagine(state, part)
        assert outcome.latents is not None, "the learned simulator always has them"
        frames.append(simulator.decode(outcome.latents))
        estimates.append(outcome.estimates.float().cpu().numpy())
    video, read = np.concatenate(frames, 1), np.concatenate(estimates, 1)
    return [Dream(video[n, : len(rest)], read[n, : len(rest)]) for n, rest in enumerate(rests)]


def score(
    episode: TrueEpisode, dream: Dream, toolbox: Toolbox, readouts: Sequence[str]
) -> dict[str, float | int | None]:
    """How right the dream is; ``readouts`` names what is read out of frames.

    Returns:
        psnr_revisit_db, cosine_revisit, ssim_revisit, lpips_revisit, src: means over the ``revisits`` of places that
            were shown, imagined frame against true one; cosine on features of the video encoder.
        copy_psnr_db: PSNR of the last frame that was shown, kept up: what a model has to beat.
        self_psnr_db: over all revisits, imagined frame against the first visit as the video has it, imagined or shown.
        scene_cuts: in the shown and imagined video; ``true_scene_cuts``: in the true one.
        hand_error_cm, object_error_cm: of the read-outs, mean over the imagined decisions.
        None for a metric that could not be had.
    """
    video = np.concatenate([episode.frames[: episode.seen + 1], dream.frames])
    again = episode.known[:, 1]
    imagined, truth = video[again], episode.frames[again]
    kept = np.broadcast_to(episode.frames[episode.seen], truth.shape)
    true_estimates = episode.estimates[episode.seen + 1 :]
    features, cuts = toolbox.frame_features, toolbox.scene_cuts
    return {
        "revisits": len(again),
        "psnr_revisit_db": float(psnr(imagined, truth).mean()),
        "copy_psnr_db": float(psnr(kept, truth).mean()),
        "self_psnr_db": float(psnr(*(video[of] for of in episode.pairs.T)).mean()),
        "cosine_revisit": float(cosine(features(imagined), features(truth)).mean()) if features else None,
        "ssim_revisit": float(toolbox.ssim(imagined, truth).mean()) if toolbox.ssim else None,
        "lpips_revisit": float(toolbox.lpips(imagined, truth).mean()) if toolbox.lpips else None,
        "src": float(toolbox.src(truth, imagined).mean()) if toolbox.src else None,
        "scene_cuts": cuts(video) if cuts else None,
        "true_scene_cuts": cuts(episode.frames) if cuts else None,
        **{
            f"{thing}_error_cm": float(error_cm(thing, dream.estimates, true_estimates, readouts).mean())
            for thing in ("hand", "object")
        },
    }
