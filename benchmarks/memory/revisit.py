"""What does a model still know of a place when it comes back? Episodes of ``memory/revisit``, shown and then imagined.

The model sees the true frames of the first way out, chunk by chunk, as in an episode that it plays; from the turning
point on it imagines every frame under the path's actions, chunk by chunk, learning from its own chunks as Algorithm 1a
says. Whenever the path shows a place again that was seen at the beginning, there is one right picture, the one seen
then. Only places count that have left what the denoiser is given: a model without memory can but guess those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sfvgen_plan.benchmarks.memory.simulators import continued, in_batches, shown
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.memory.family import OWN_CAMERA
from sfvgen_plan.envs.memory.make import make_memory
from sfvgen_plan.envs.memory.revisit_env import CAMERA, MemoryRevisitEnv
from sfvgen_plan.envs.memory.revisit_task import NAME
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.frechet import clips
from sfvgen_plan.metrics.places import cosine
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.metrics.toolbox import Toolbox
    from sfvgen_plan.model.checkpoint import Checkpoint
    from sfvgen_plan.simulator import LearnedSimulator

CHUNK = 8
"""Decisions imagined, and learned from, at a time."""

CLEAN_FRAMES = 2
"""That a chunk is generated from, in the recipes."""


@dataclass(frozen=True)
class TrueEpisode:
    """An episode in the true simulator.

    Attributes:
        seed: of the layout.
        frames: (T + 1, H, W, 3) uint8.
        actions: (T, 4) float32.
        estimates: (T + 1, 10) float32, the true values of ``STATE_NAMES``.
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
    """What a model imagined after the part that it saw: ``frames`` (T - S, H, W, 3) and ``estimates`` (T - S, 10)."""

    frames: np.ndarray
    estimates: np.ndarray


@dataclass(frozen=True)
class RevisitScores:
    """One episode of one row; None where a metric could not be had.

    Attributes:
        psnr_revisit_db, cosine_revisit, ssim_revisit, lpips_revisit, src: means over the revisits of places that were
            shown, imagined frame against true one; cosine on features of the video encoder.
        copy_psnr_db: PSNR of the last frame that was shown, kept up: what a model has to beat.
        self_psnr_db: over all revisits, imagined frame against the first visit as the video has it, imagined or shown.
        scene_cuts: in the shown and imagined video; ``true_scene_cuts``: in the true one.
        hand_error_cm, object_error_cm: of the read-outs, mean over the imagined decisions.
        revisits: how many there were of places that were shown.
    """

    psnr_revisit_db: float
    cosine_revisit: float | None
    scene_cuts: int | None
    revisits: int
    ssim_revisit: float | None
    lpips_revisit: float | None
    src: float | None
    copy_psnr_db: float
    self_psnr_db: float
    true_scene_cuts: int | None
    hand_error_cm: float
    object_error_cm: float


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


def check_episodes(episodes: range) -> None:
    """Refuse seeds that belong to training data.

    Raises:
        UserError: it reaches them.
    """
    if episodes.stop > FIRST_TRAINING_SEED:
        raise UserError(f"seed={episodes.start} with episodes={len(episodes)} reaches training data; use lower seeds")


def away_of(chunk: int) -> int:
    """Frames between visit and revisit from which on one pass of the denoiser, chunk and clean frames, can't hold both.
    The same for all rows, also for those with fewer clean frames."""
    return chunk + CLEAN_FRAMES


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


def imagine(simulator: LearnedSimulator, episodes: Sequence[TrueEpisode], chunk: int = CHUNK) -> list[Dream]:
    """The rests of the episodes as the model imagines them after it has seen the first ways out.

    Episodes are imagined side by side, in whole chunks: each comes out as it would alone, but for how a batch rounds.
    """
    dreams: dict[int, Dream] = {}
    for batch in in_batches(simulator, [episode.seen for episode in episodes]):
        own = [episodes[number] for number in batch]
        seen = [episode.frames[: episode.seen + 1] for episode in own], [e.actions[: e.seen] for e in own]
        state = shown(simulator, NAME, [episode.seed for episode in own], *seen, chunk)
        rests = [episode.actions[episode.seen :] for episode in own]
        longest = -(-max(map(len, rests)) // chunk) * chunk
        actions = np.stack([np.pad(rest, ((0, longest - len(rest)), (0, 0))) for rest in rests])
        frames, estimates = continued(simulator, state, actions, chunk)
        for place, (number, rest) in enumerate(zip(batch, rests, strict=True)):
            dreams[number] = Dream(frames[place, : len(rest)], estimates[place, : len(rest)])
    return [dreams[number] for number in range(len(episodes))]


def score(episode: TrueEpisode, dream: Dream, toolbox: Toolbox) -> RevisitScores:
    """How right the dream is."""
    video = np.concatenate([episode.frames[: episode.seen + 1], dream.frames])
    again = episode.known[:, 1]
    imagined, truth = video[again], episode.frames[again]
    kept = np.broadcast_to(episode.frames[episode.seen], truth.shape)
    features = toolbox.frame_features
    estimates = episode.estimates[episode.seen + 1 :]
    return RevisitScores(
        psnr_revisit_db=float(psnr(imagined, truth).mean()),
        cosine_revisit=float(cosine(features(imagined), features(truth)).mean()) if features else None,
        scene_cuts=toolbox.scene_cuts(video) if toolbox.scene_cuts else None,
        revisits=len(again),
        ssim_revisit=float(toolbox.ssim(imagined, truth).mean()) if toolbox.ssim else None,
        lpips_revisit=float(toolbox.lpips(imagined, truth).mean()) if toolbox.lpips else None,
        src=float(toolbox.src(truth, imagined).mean()) if toolbox.src else None,
        copy_psnr_db=float(psnr(kept, truth).mean()),
        self_psnr_db=float(psnr(video[episode.pairs[:, 0]], video[episode.pairs[:, 1]]).mean()),
        true_scene_cuts=toolbox.scene_cuts(episode.frames) if toolbox.scene_cuts else None,
        hand_error_cm=float(error_cm("hand", dream.estimates, estimates).mean()),
        object_error_cm=float(error_cm("object", dream.estimates, estimates).mean()),
    )


def set_features(episode: TrueEpisode, dream: Dream, toolbox: Toolbox) -> dict[str, np.ndarray]:
    """Features of the imagined part's clips and of the true ones, for distances between sets of videos: those of
    ``toolbox.clip_features`` under ``<name>_true`` and ``<name>_imagined``."""
    found = {}
    for name, extract in toolbox.clip_features.items():
        found[f"{name}_true"] = extract(clips(episode.frames[episode.seen + 1 :]))
        found[f"{name}_imagined"] = extract(clips(dream.frames))
    return found
