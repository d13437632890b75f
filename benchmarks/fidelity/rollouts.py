"""The two sides of an open-loop comparison: real episodes, and the same as they are imagined or played again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from sfvgen_plan.data.episodes import EpisodeArrays
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.rlbench.env import DRAWN_VARIATIONS
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import HELD_OUT_EVERY, held_out_episodes
from sfvgen_plan.metrics import error_cm, psnr
from sfvgen_plan.simulator import LearnedSimulator

HEAD = ("success_accuracy", "solved", "solved_seen")
QUALITY = ("psnr_db", "copy_psnr_db", "further_psnr_db", "object_error_cm", "hand_error_cm")
MEASURES = (*QUALITY, *HEAD)
HELD_BACK = 0.03  # metres by which a hand falls short of a decision's displacement that has touched something


@dataclass(frozen=True)
class RealEpisodes:
    """E real episodes of a task, of T decisions; after the end of a shorter one, its last moment repeats."""

    task: str  # its name
    seeds: np.ndarray  # (E,) int64; the noise of a rollout depends on them alone
    descriptions: np.ndarray  # (E,) str, what each episode is about
    frames: np.ndarray  # (E, T+1, H, W, 3) uint8
    actions: np.ndarray  # (E, T, A) float32 in [-1, 1]
    estimates: np.ndarray  # (E, T+1, D) float32, true values of the read-outs
    success: np.ndarray  # (E, T) bool, solved at this decision
    lengths: np.ndarray  # (E,) int64, decisions, at most T


def choose(
    episodes: EpisodeArrays, decisions: int, per_task: int | None = None, held_out_only: bool = True
) -> list[RealEpisodes]:
    """The first ``per_task`` held-out episodes of each task, cut to that many decisions. Raises UserError: there is
    none, or none that is so long."""
    allowed = held_out_episodes(episodes.task).numpy() if held_out_only else np.ones(len(episodes), bool)
    found = []
    for number, task in enumerate(episodes.tasks):
        own = np.flatnonzero(allowed & (episodes.task == number))[:per_task]
        # Place of every moment in the flat arrays; past the end of an episode its last.
        lengths = np.minimum(episodes.lengths[own], decisions)
        moments = episodes.episode_start[own][:, None] + np.minimum(np.arange(decisions + 1), lengths[:, None])
        steps = episodes.action_start[own][:, None] + np.minimum(np.arange(decisions), lengths[:, None] - 1)
        flat = (episodes.frames[moments], episodes.actions[steps], episodes.estimates[moments], episodes.success[steps])
        found.append(RealEpisodes(task, episodes.seed[own], episodes.descriptions[own], *flat, lengths))
    if max((real.lengths.max(initial=0) for real in found), default=0) < decisions:
        raise UserError(
            f"decisions={decisions}: the data has no {'held-out ' if held_out_only else ''}episode of that length "
            f"(one in {HELD_OUT_EVERY} of a task is held out); give fewer --decisions, more data, or --all"
        )
    return [real for real in found if len(real.seeds)]


class Played(NamedTuple):
    """The same episodes once more: frames (E, T, H, W, 3) uint8, estimates (E, T, D) by their names, solved (E, T)."""

    frames: np.ndarray
    estimates: np.ndarray
    names: Sequence[str]
    solved: np.ndarray


def imagined(simulator: LearnedSimulator, real: RealEpisodes) -> Played:
    """The episodes as the model imagines them from their first frames."""
    texts = [simulator.checkpoint.told(real.task, description) for description in real.descriptions]
    state = simulator.begin(real.frames[:, :1], [real.task] * len(real.seeds), real.seeds.tolist(), texts)
    _, outcome = simulator.imagine(state, torch.as_tensor(real.actions, device=simulator.device))
    assert outcome.latents is not None, "the learned simulator always has them"
    estimates, solved = outcome.estimates.cpu().numpy(), outcome.success.float().cpu().numpy() > 0.5
    return Played(simulator.decode(outcome.latents), estimates, simulator.checkpoint.card.readouts, solved)


def replayed(episodes: EpisodeArrays, real: RealEpisodes) -> Played:
    """The recorded actions played once more in the real simulator, from the scenes of the episodes' seeds, filmed as
    ``episodes`` were. Raises UserError: a scene that is described as the recorded one was can't be made; the simulator
    isn't there."""
    family = family_of(real.task)
    env = family.make(real.task, size=episodes.size, camera=episodes.camera, repeat=episodes.repeat)
    frames, estimates = real.frames[:, 1:].copy(), real.estimates[:, 1:].copy()
    solved = np.zeros_like(real.success)
    try:
        for e, length in enumerate(real.lengths):
            _begin(env, int(real.seeds[e]), str(real.descriptions[e]))
            for t in range(length):
                frame, _, _, _, info = env.step(env.unwrapped.actions.outside(real.actions[e, t]))
                frames[e, t:], estimates[e, t:], solved[e, t:] = frame, info["estimates"], info["success"]
    finally:
        env.close()
    return Played(frames, estimates, family.source.readouts, solved)


def _begin(env: Any, seed: int, description: str) -> None:
    """The scene of the seed, of tasks with variations in the first one that is described so."""
    info = env.reset(seed=seed)[1]
    variations = range(DRAWN_VARIATIONS if "variation" in info else 0)
    others = (env.reset(seed=seed, options={"variation": variation})[1] for variation in variations)
    if variations and not any(one["instruction"] == description for one in chain([info], others)):
        raise UserError(f"data: no scene of seed {seed} is described as {description!r}; it can't be played again")


def compare(played: Played, real: RealEpisodes) -> dict[str, np.ndarray]:
    """Each of ``MEASURES`` (E, T) after every decision; NaN where it can't be measured."""
    truth, unknown = real.frames[:, 1:], np.full(real.success.shape, np.nan)

    def error(thing: str) -> np.ndarray:
        known = f"{thing}_x" in played.names
        return error_cm(thing, played.estimates, real.estimates[:, 1:], played.names) if known else unknown

    seen = by_picture(played.frames, truth)
    copied = by_picture(np.broadcast_to(real.frames[:, :1], truth.shape), truth)
    return {
        "psnr_db": seen[:, :, 0],
        "copy_psnr_db": copied[:, :, 0],
        "further_psnr_db": seen[:, :, 1:].mean(-1) if seen.shape[2] > 1 else unknown,
        "object_error_cm": error("object"),
        "hand_error_cm": error("hand"),
        "success_accuracy": (played.solved == real.success).astype(float),
        "solved": real.success.astype(float),
        "solved_seen": (played.solved & real.success).astype(float),
    }


def by_picture(seen: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PSNR (E, T, K) of each of the K pictures in frames (E, T, K S, S, 3); NaN of those that no camera filmed."""
    size = truth.shape[-2]
    apart = [frames.reshape(*truth.shape[:2], -1, size, size, 3) for frames in (seen, truth)]
    return np.where(apart[1].any((-3, -2, -1)), psnr(*apart), np.nan)


def parts(real: RealEpisodes) -> dict[str, np.ndarray]:
    """Name -> which episodes (E,). What was held back has touched something, and where it goes then is chance; it is
    known where actions are displacements."""
    found = {"all": np.ones(len(real.seeds), bool)}
    if displacement := family_of(real.task).displacement:
        short = displacement * real.actions[..., :3] - np.diff(real.estimates[..., :3], axis=1)
        going_on = np.arange(real.actions.shape[1]) < real.lengths[:, None]
        held = ((np.linalg.norm(short, axis=-1) > HELD_BACK) & going_on).any(1)
        found |= {"clean": ~held, "contact": held}
    return found
