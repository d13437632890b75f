"""What does a model still know of a place when it comes back? Episodes of ``memory/revisit``, shown and then imagined.

The model sees the true frames of the first way out, as in an episode that it plays; from the turning point on it
imagines every frame under the path's actions. Whenever the path shows a place again that was seen at the beginning,
there is one right picture, the one seen then. Only places count that have left the network's window of frames: a model
without memory can but guess those.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sfvgen_plan.benchmarks.memory.parts import DriftRow, RevisitRow
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.contestant import Contestant, Entry
from sfvgen_plan.benchmarks.running.episode import Job, Recording
from sfvgen_plan.benchmarks.running.play import play
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.envs.memory.family import OWN_CAMERA
from sfvgen_plan.envs.memory.revisit_task import CAMERA, NAME, layout_of
from sfvgen_plan.errors import UserError
from sfvgen_plan.imagination import Imagination
from sfvgen_plan.metrics import psnr, scene_cuts
from sfvgen_plan.metrics.encoder import VideoEncoder, cosine
from sfvgen_plan.model.checkpoint import Checkpoint
from sfvgen_plan.simulator import LearnedSimulator
from sfvgen_plan.video import caption, enlarge

LONG, LAST = 1000, 100  # decisions of a long dream, and its last ones, which are scored

GAP, PLACES, SIDE = 60, 4, 256
"""Of the picture: decisions until a place comes back, how many are shown, and pixels of a frame."""

PART = 32  # decisions that are imagined at a time, which bounds the memory needed; the result is the same


@dataclass(frozen=True)
class TrueEpisode:
    """An episode in the true simulator."""

    seed: int  # of the layout
    frames: np.ndarray  # (T + 1, H, W, 3) uint8
    actions: np.ndarray  # (T, 4) float32
    seen: int  # decisions of the first way out, up to its turning point
    first_visits: np.ndarray  # (T + 1,) the earliest frame that shows the same place, -1 where it is new
    pairs: np.ndarray  # (K, 2) first visit and revisit, all that lie far enough apart; revisits of the imagined part

    @property
    def known(self) -> np.ndarray:
        """(K', 2): those of the pairs whose first visit the model was shown."""
        return self.pairs[self.pairs[:, 0] <= self.seen]


def check_leaves(checkpoint: Checkpoint) -> None:
    """Raises UserError: the checkpoint was trained on other tasks, or on a camera that never leaves."""
    checkpoint.task_index(NAME)
    if checkpoint.camera not in (OWN_CAMERA, CAMERA):
        raise UserError(
            f"checkpoint={str(checkpoint.path)!r} was trained with camera={checkpoint.camera!r}, which never leaves; "
            f"give one trained on data collected with camera={OWN_CAMERA!r}"
        )


def away_of(checkpoint: Checkpoint) -> int:
    """Frames between visit and revisit from which on the network's window doesn't hold both."""
    return int(checkpoint.pipeline.transformer.config.window) + 1


def recordings(own: Checkpoint, task: str, seeds: Sequence[int], who: Contestant, lanes: int) -> Iterator[Recording]:
    """Episodes of a memory task as they come, each to its end, in the checkpoint's frames. Raises RuntimeError: one
    broke off."""
    rules = load_protocol("memory").variant(size=own.size, camera=own.camera, repeat=own.repeat)
    rules = replace(rules, linger=rules.max_decisions)
    for row, recording, details in play(rules, [Job(task, seed, record=True) for seed in seeds], who, lanes):
        if recording is None:
            raise RuntimeError(f"{task} seed {row.seed} broke off:\n{details}")
        yield recording


def true_episodes(checkpoint: Checkpoint, seeds: Sequence[int], away: int, lanes: int = 1) -> list[TrueEpisode]:
    """The episodes of these seeds, their paths followed to the end by the expert."""
    found = {}
    for played in recordings(checkpoint, NAME, seeds, Entry.of("expert").made(), min(cpu_cores(), lanes)):
        seed = played.job.seed
        layout = layout_of(seed, checkpoint.repeat)
        first_visits, pairs = layout.first_visits, layout.revisits(away)
        seen = int((first_visits >= 0).argmax()) - 1  # then the path turns back
        pairs = pairs[pairs[:, 1] > seen]
        found[seed] = TrueEpisode(seed, played.frames, played.actions, seen, first_visits, pairs)
    return [found[seed] for seed in seeds]


def walked_round(episode: TrueEpisode, away: int, decisions: int) -> TrueEpisode:
    """The same path, which ends where it begins, again and again until so many decisions are to be imagined: what it
    shows is known without simulating it."""
    round_ = len(episode.actions)
    at = np.arange(episode.seen + decisions + 1)
    now = at % round_
    first = np.where(episode.first_visits[now] >= 0, episode.first_visits[now], now)
    pairs = np.column_stack([first, at])[(at - first >= away) & (at > episode.seen)]
    return replace(
        episode, frames=episode.frames[now], actions=episode.actions[now[:-1]],
        first_visits=np.where(first < at, first, -1), pairs=pairs,
    )  # fmt: skip


Learn = Callable[[Imagination, torch.Tensor], Imagination]
"""The episodes, and the actions (N, 1, A) that led to their newest frames -> the same with what was learnt of them."""


@torch.no_grad()
def imagine(
    simulator: LearnedSimulator, episodes: Sequence[TrueEpisode], learn: Learn | None = None
) -> list[np.ndarray]:
    """Frames (T - S, H, W, 3) uint8 of the rest of each episode as the model imagines it after it has seen the first
    way out, side by side: each comes out as it would alone. ``learn`` is called after every frame, shown or not."""
    rests = [len(episode.actions) - episode.seen for episode in episodes]
    actions, shown = (
        torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
        for parts in (
            (torch.from_numpy(episode.actions) for episode in episodes),
            (simulator.encode(episode.frames[None, 1 : episode.seen + 1])[0] for episode in episodes),
        )
    )
    begun = np.stack([episode.frames[:1] for episode in episodes])
    state = simulator.begin(begun, [NAME] * len(episodes), [episode.seed for episode in episodes])
    actions, first = actions.to(simulator.device), min(episode.seen for episode in episodes)
    if learn is not None:
        state = learn(state, torch.zeros_like(actions[:, :1]))
    frames = []
    made: list[torch.Tensor] = []
    for t, action in enumerate(actions.split(1, dim=1)):
        before = state
        if t >= first:
            state, outcome = simulator.imagine(before, action)
            assert outcome.latents is not None, "the learned simulator always has them"
            made.append(outcome.latents)
        seeing = [n for n, episode in enumerate(episodes) if t < episode.seen]
        if seeing:
            index = torch.tensor(seeing, device=simulator.device)
            seen = simulator.observe_latents(before.select(index), shown[index, t : t + 1], action[index])
            state = state.replaced(index, seen) if t >= first else seen
        if learn is not None:
            state = learn(state, action)
        if len(made) == PART or t + 1 == actions.shape[1]:
            frames.append(simulator.decode(torch.cat(made, 1)))
            made = []
    video = np.concatenate(frames, 1)
    starts = [episode.seen - first for episode in episodes]
    return [video[n, start : start + rest] for n, (start, rest) in enumerate(zip(starts, rests, strict=True))]


def revisit_psnr(episode: TrueEpisode, dream: np.ndarray) -> float:
    """Of the imagined frames of places that were shown, against the true ones; dB, mean over frames."""
    return _psnr(episode, dream, episode.known[:, 1])


def _psnr(episode: TrueEpisode, dream: np.ndarray, of: np.ndarray) -> float:
    """Mean PSNR in dB of the imagined frames that stand for the episode's frames ``of``."""
    return float(psnr(dream[of - episode.seen - 1], episode.frames[of]).mean())


def drift_row(row: str, episode: TrueEpisode, dream: np.ndarray) -> DriftRow:
    """How good a long dream (see ``walked_round``) is."""
    end, again = len(episode.frames), episode.known[:, 1]
    last, begin = np.arange(end - LAST, end), episode.seen + 1 + np.arange(LAST)
    seen = again[again >= end - LAST]
    late = _psnr(episode, dream, seen) if len(seen) else None
    return DriftRow(row, episode.seed, _psnr(episode, dream, last), late, _psnr(episode, dream, begin))


def revisit_row(row: str, episode: TrueEpisode, dream: np.ndarray, encoder: VideoEncoder) -> RevisitRow:
    """How right a dream is; the cosine is one of the encoder's features."""
    again = episode.known[:, 1]
    video = np.concatenate([episode.frames[: episode.seen + 1], dream])
    features = (encoder.frame_features(frames[again]) for frames in (video, episode.frames))
    found = float(cosine(*features).mean())
    return RevisitRow(row, episode.seed, revisit_psnr(episode, dream), found, scene_cuts(video))


def drawn(checkpoint: Checkpoint, seed: int) -> np.ndarray:
    """One picture (H, W, 3) uint8 of what a memory is worth: places as the episode of ``seed`` shows them first, and
    below ``GAP`` decisions or more later, imagined with the memory and without, and as they truly are. Raises
    UserError: nothing comes back so late."""
    check_leaves(checkpoint)
    (episode,) = true_episodes(checkpoint, [seed], away_of(checkpoint))
    late = episode.known[np.diff(episode.known).ravel() >= GAP]
    if not len(late):
        raise UserError(f"seed={seed}: no place comes back after {GAP} decisions; give another seed")
    videos = []
    for memory in (True, False):
        (dream,) = imagine(checkpoint.simulator(memory=memory), [episode])
        videos.append(np.concatenate([episode.frames[: episode.seen + 1], dream]))
    columns = []
    for first, again in late[np.linspace(0, len(late) - 1, PLACES).astype(int)]:
        rows = {
            f"shown at decision {first}": episode.frames[first],
            f"{again - first} later, with memory": videos[0][again],
            "without": videos[1][again],
            "true": episode.frames[again],
        }
        columns.append(np.concatenate([caption(enlarge(frame, SIDE), text) for text, frame in rows.items()]))
    return np.concatenate(columns, 1)
