"""What does a model still know of a place when it comes back? Episodes of ``memory/revisit``, shown and then imagined.

The model sees the true frames of the first way out, chunk by chunk, as in an episode that it plays; from the turning
point on it imagines every frame under the path's actions, chunk by chunk, learning from its own chunks as Algorithm 1a
says. Whenever the path shows a place again that was seen at the beginning, there is one right picture, the one seen
then. Only places count that have left what the denoiser is given: a model without memory can but guess those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sfvgen_plan.envs.memory.revisit_env import CAMERA, MemoryRevisitEnv
from sfvgen_plan.envs.memory.revisit_task import NAME
from sfvgen_plan.envs.memory.tasks import OWN_CAMERA, make_memory
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.frechet import clips
from sfvgen_plan.metrics.places import cosine
from sfvgen_plan.metrics.readouts import error_cm
from sfvgen_plan.metrics.toolbox import Toolbox
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulator import Imagination, LearnedSimulator

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


def away_of(chunk: int) -> int:
    """Frames between visit and revisit from which on one pass of the denoiser, chunk and clean frames, can't hold both.
    The same for all rows, also for those with fewer clean frames."""
    return chunk + CLEAN_FRAMES


def true_episode(env: MemoryRevisitEnv, seed: int, away: int) -> TrueEpisode:
    """The episode of ``seed``, its path followed to the end."""
    frame, info = env.reset(seed=seed)
    frames, estimates, actions = [frame], [info["estimates"]], info["path"]
    for action in actions:
        frame, *_, info = env.step(action)
        frames.append(frame)
        estimates.append(info["estimates"])
    again = np.flatnonzero(env.layout.first_visits() >= 0)
    seen = int(again[0]) - 1  # the first frame that shows an old place comes right after the turning point
    pairs = env.layout.revisits(away)
    return TrueEpisode(seed, np.stack(frames), actions, np.stack(estimates), seen, pairs[pairs[:, 1] > seen])


def show(simulator: LearnedSimulator, episodes: Sequence[TrueEpisode], chunk: int = CHUNK) -> Imagination:
    """The model's states after it has seen the first ways out, with what it learned from them.

    Episodes of one call are as far as each other for the rule "whole", whose states hold all frames.
    """
    tasks, seeds = [NAME] * len(episodes), [episode.seed for episode in episodes]
    newest = max(simulator.context_frames, 2)
    learning = simulator.fast_learning
    keeps_all = learning is not None and learning.keeps_all

    def frames_of(episode: TrueEpisode, first: int, end: int) -> np.ndarray:
        return episode.frames[0 if keeps_all else max(0, first) : end]

    shown = np.stack([frames_of(episode, episode.seen + 1 - newest, episode.seen + 1) for episode in episodes])
    if learning is None:
        return simulator.begin(shown, tasks, seeds)
    memories: list = [None] * len(episodes)
    for start in range(0, max(episode.seen for episode in episodes), chunk):
        for stop, rows in _alike([min(start + chunk, episode.seen) for episode in episodes], above=start):
            learned = simulator.remember_frames(
                [memories[row] for row in rows],
                np.stack([frames_of(episodes[row], start + 1 - simulator.context_frames, stop + 1) for row in rows]),
                np.stack([episodes[row].actions[start:stop] for row in rows]),
                [tasks[row] for row in rows],
                [seeds[row] for row in rows],
            )
            for row, memory in zip(rows, learned, strict=True):
                memories[row] = memory
    return simulator.recall(simulator.begin(shown, tasks, seeds), memories)


def imagine(simulator: LearnedSimulator, episode: TrueEpisode, chunk: int = CHUNK) -> Dream:
    """The rest of the episode as the model imagines it."""
    return imagine_all(simulator, [episode], chunk)[0]


def imagine_all(simulator: LearnedSimulator, episodes: Sequence[TrueEpisode], chunk: int = CHUNK) -> list[Dream]:
    """The rests of several episodes in one batch. Episodes don't mix: each comes out as it would alone, but for how a
    batch rounds."""
    learning = simulator.fast_learning
    if learning is not None and learning.keeps_all:
        dreams: dict[int, Dream] = {}
        for _, rows in _alike([episode.seen for episode in episodes]):
            dreams |= zip(rows, _imagined(simulator, [episodes[row] for row in rows], chunk), strict=True)
        return [dreams[row] for row in range(len(episodes))]
    return _imagined(simulator, episodes, chunk)


def _imagined(simulator: LearnedSimulator, episodes: Sequence[TrueEpisode], chunk: int) -> list[Dream]:
    state = show(simulator, episodes, chunk)
    rests = [episode.actions[episode.seen :] for episode in episodes]
    frames: list[list[np.ndarray]] = [[] for _ in episodes]
    estimates: list[list[np.ndarray]] = [[] for _ in episodes]
    going, start = list(range(len(episodes))), 0
    while going:
        following: list[int] = []
        for length, rows in _alike([min(chunk, len(rests[number]) - start) for number in going]):
            numbers = [going[row] for row in rows]
            actions = torch.from_numpy(np.stack([rests[number][start : start + length] for number in numbers]))
            part, outcome = simulator.imagine(_part(simulator, state, rows, len(going)), actions.to(simulator.device))
            assert outcome.latents is not None
            seen, read = simulator.decode(outcome.latents), outcome.estimates.float().cpu().numpy()
            for row, number in enumerate(numbers):
                frames[number].append(seen[row])
                estimates[number].append(read[row])
            stays = [row for row, number in enumerate(numbers) if len(rests[number]) > start + chunk]
            if stays:  # those of one length alone, a whole chunk
                following = [numbers[row] for row in stays]
                kept = _part(simulator, part, stays, len(rows))
        if following:
            state = simulator.remember(kept) if simulator.fast_learning is not None else kept
        going, start = following, start + chunk
    return [Dream(np.concatenate(parts), np.concatenate(read)) for parts, read in zip(frames, estimates, strict=True)]


def _part(simulator: LearnedSimulator, state: Imagination, rows: list[int], count: int) -> Imagination:
    """Of the ``count`` episodes of ``state`` those in these rows, which rise."""
    return state if len(rows) == count else simulator.select(state, rows)


def _alike(numbers: Sequence[int], above: int = 0) -> list[tuple[int, list[int]]]:
    """The different numbers that are above ``above``, each with the places where it stands."""
    return [
        (number, [place for place, other in enumerate(numbers) if other == number])
        for number in sorted(set(numbers))
        if number > above
    ]


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
