"""Training data on the training device: frames, latents and labels in flat tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.data.episodes import KINDS, EpisodeArrays
from sfvgen_plan.data.rlbench_state import MIRRORED_ACTION, MIRRORED_ESTIMATES
from sfvgen_plan.errors import UserError

HELD_OUT_EVERY = 20  # every so many-th episode of a task is kept for validation
_STRIDE = 7  # has no divisor in common with it, so that every place has its turn

BY_EXPERT = KINDS[:2]  # kinds of episodes in which nobody but the expert, perhaps disturbed a little, decided
BEST = 0.1  # share of the episodes of a task without advice or success that is imitated
TOLD = 0.9  # share of frames whose text is that of the sub-goal, if there is one, instead of the task's instruction
STARTS_PER_TASK = 40  # real start frames that a checkpoint keeps of a task


@dataclass
class TrainingData:
    """Episodes as flat tensors on one device.

    F frames and E episodes. Labels of the first frame of an episode (nothing led there) are zero and masked out.

    Attributes:
        frames: (F, H, W, 3) uint8.
        action: (F, A) action that led into the frame; zero for first frames.
        expert: (F, A) the action in the frame that a prior may learn; ``has_expert`` (F,) where there is one.
        reward, success: (F,) labels of the frame; ``labelled`` (F,) False for first frames.
        terminated: (F,) True in the last frames of episodes that ended by themselves.
        estimates: (F, D).
        task: (F,) task index.
        first, last: (F,) index of the first and last frame of the frame's episode.
        held_out: (F,) True in episodes kept for validation.
        few: (F,) True in the episodes that prior10 may learn from; ``by_expert`` (F,) in those of ``BY_EXPERT``.
        text: (F,) what the model is told of a window that ends there: index into the task's instructions followed by
            the sub-goals (see ``told_texts``).
        latents: (F, C, h, w) standardised, set after the autoencoder stage.
    """

    frames: Tensor
    action: Tensor
    expert: Tensor
    has_expert: Tensor
    reward: Tensor
    success: Tensor
    terminated: Tensor
    labelled: Tensor
    estimates: Tensor
    task: Tensor
    first: Tensor
    last: Tensor
    held_out: Tensor
    few: Tensor
    by_expert: Tensor
    text: Tensor
    latents: Tensor | None = None

    def indices(self, mask: Tensor) -> Tensor:
        """Frame numbers where the mask holds."""
        return mask.nonzero(as_tuple=True)[0]


def held_out_episodes(task: np.ndarray, every: int = HELD_OUT_EVERY) -> Tensor:
    """(E,) bool from the task index (E,) of each episode: one of every ``every`` successive episodes of each task.

    Which one changes from block to block: kinds of episodes are collected in turn, and a fixed place would hold out a
    single kind.
    """
    seen: dict[int, int] = {}
    held_out = torch.zeros(len(task), dtype=torch.bool)
    for e, index in enumerate(task.tolist()):
        block, place = divmod(seen.get(index, 0), every)
        held_out[e] = place == (every - 1 - _STRIDE * block) % every
        seen[index] = seen.get(index, 0) + 1
    return held_out


def to_training_data(
    episodes: EpisodeArrays, device: torch.device, held_out_every: int = HELD_OUT_EVERY, few_episodes: int = 10
) -> TrainingData:
    """Lay episodes out for training.

    One of every ``held_out_every`` episodes of a task is held out. The first ``few_episodes`` clean expert episodes of
    each task that are not held out are the few demonstrations of ``prior10``.
    """
    count = len(episodes.lengths)
    frame_count = len(episodes.frames)
    held_out = held_out_episodes(episodes.task, held_out_every)
    few = torch.zeros(count, dtype=torch.bool)
    clean_seen: dict[int, int] = {}
    for e in range(count):
        task = int(episodes.task[e])
        if episodes.kind[e] == "clean" and not held_out[e]:
            few[e] = clean_seen.get(task, 0) < few_episodes
            clean_seen[task] = clean_seen.get(task, 0) + 1
    lengths = torch.as_tensor(episodes.lengths, dtype=torch.int64)
    episode = torch.arange(count).repeat_interleave(lengths + 1)
    first = torch.as_tensor(episodes.episode_start, dtype=torch.int64)[episode]
    number = torch.arange(frame_count)
    by_itself = torch.zeros(count, dtype=torch.bool)
    if episodes.terminated is not None:
        by_itself = torch.as_tensor(episodes.terminated)
    started = number > first  # an action led here
    ended = number == first + lengths[episode]  # no action follows
    action_number = number - episode - 1  # of the action that led here: frames minus one first frame per episode

    def scatter(values: object, mask: Tensor, shift: int) -> Tensor:
        source = torch.as_tensor(values, dtype=torch.float32)
        out = torch.zeros(frame_count, *source.shape[1:])
        out[mask] = source[(action_number + shift)[mask]]
        return out

    def place(tensor: Tensor) -> Tensor:
        return tensor.to(device)

    advice = worth_imitating(episodes)
    known = np.isfinite(advice).all(-1)
    return TrainingData(
        frames=place(torch.as_tensor(episodes.frames)),
        action=place(scatter(episodes.actions, started, 0)),
        expert=place(scatter(np.nan_to_num(advice), ~ended, 1)),
        has_expert=place(scatter(known, ~ended, 1) > 0),
        reward=place(scatter(episodes.reward, started, 0)),
        success=place(scatter(episodes.success, started, 0)),
        terminated=place(ended & by_itself[episode]),
        labelled=place(started),
        estimates=place(torch.as_tensor(episodes.estimates, dtype=torch.float32)),
        task=place(torch.as_tensor(episodes.task, dtype=torch.int64)[episode]),
        first=place(first),
        last=place(first + lengths[episode]),
        held_out=place(held_out[episode]),
        few=place(few[episode]),
        by_expert=place(torch.as_tensor(np.isin(episodes.kind, BY_EXPERT))[episode]),
        text=place(told_texts(episodes)),
    )


def worth_imitating(episodes: EpisodeArrays) -> np.ndarray:
    """(A, numbers) for a prior: the expert's advice where there is any; in an episode without, what was done until it
    succeeded; NaN elsewhere. Of a task without advice or success, the episodes of the highest return stand in."""
    advice = episodes.expert_actions.copy()
    ends = episodes.action_start + episodes.lengths
    parts = [slice(start, end) for start, end in zip(episodes.action_start, ends, strict=True)]
    alone = np.array([bool(np.isnan(advice[part]).all()) for part in parts])
    solved = np.array([bool(episodes.success[part].any()) for part in parts])
    earned = np.array([float(episodes.reward[part].sum()) for part in parts])
    for task in range(len(episodes.tasks)):
        here = episodes.task == task
        good = here & alone & solved
        if alone[here].all() and not good.any():
            good = here & (earned >= np.quantile(earned[here], 1 - BEST))
        for e in np.flatnonzero(good):
            part = parts[e]
            done = slice(part.start, part.start + int(np.argmax(episodes.success[part])) + 1) if solved[e] else part
            advice[done] = episodes.actions[done]
    return advice


def told_texts(episodes: EpisodeArrays) -> Tensor:
    """(F,) index of a text for each frame: below the number of tasks an instruction, from there on a sub-goal.

    Frames of a sub-goal mostly have its text, and now and then the instruction, so that both are known.
    """
    task = np.repeat(episodes.task, episodes.lengths + 1)
    text = torch.as_tensor(task, dtype=torch.int64)
    if episodes.sub_goal is None:
        return text
    number = np.arange(len(episodes.actions))
    led_to = torch.as_tensor(number + np.repeat(np.arange(len(episodes)), episodes.lengths) + 1)
    drawn = torch.rand(len(number), generator=torch.Generator().manual_seed(0)).numpy() < TOLD
    chosen = (episodes.sub_goal >= 0) & drawn
    text[led_to[chosen]] = torch.as_tensor(episodes.sub_goal[chosen] + len(episodes.tasks))
    return text


def pick(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the candidates, drawn with replacement."""
    drawn = torch.randint(len(candidates), (count,), generator=generator, device=candidates.device)
    return candidates[drawn]


def spread(candidates: Tensor, count: int) -> Tensor:
    """At most ``count`` of the candidates, evenly spaced."""
    last = len(candidates) - 1
    return candidates[torch.linspace(0, last, min(count, last + 1), device=candidates.device).long()]


def start_frames(data: TrainingData, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Latents (n, C, h, w) of real start frames of every task."""
    starts = {}
    assert data.latents is not None
    number = torch.arange(len(data.task), device=data.task.device)
    for index, task in enumerate(tasks):
        first = number[(number == data.first) & (data.task == index) & ~data.held_out]
        starts[task] = data.latents[first[:STARTS_PER_TASK]]
    return starts


def with_mirrored(data: TrainingData) -> TrainingData:
    """``data`` (F frames, without latents) followed by its mirror image, 2F frames: twice the data where the camera
    looks along a plane of symmetry. Episodes that are held out stay so on both sides.

    RLBench's front camera stands in the plane y = 0, where the arm's base is, too, and looks along it. Raises
    UserError: the data is not of RLBench, whose scenes and actions can be mirrored.
    """
    if data.action.shape[1] != len(MIRRORED_ACTION):
        raise UserError(
            f"train.mirror=true is for actions of {len(MIRRORED_ACTION)} numbers before RLBench's front camera, and "
            f"the data's have {data.action.shape[1]}; leave it at false"
        )
    count = len(data.frames)
    changed = {
        "frames": data.frames.flip(2),
        "action": _signed(data.action, MIRRORED_ACTION),
        "expert": _signed(data.expert, MIRRORED_ACTION),
        "estimates": _signed(data.estimates, MIRRORED_ESTIMATES),
        "first": data.first + count,
        "last": data.last + count,
    }
    both = {}
    for field in fields(data):
        values = getattr(data, field.name)
        if values is not None:
            both[field.name] = torch.cat([values, changed.get(field.name, values)])
    return replace(data, **both)


def _signed(values: Tensor, signs: tuple[float, ...]) -> Tensor:
    return values * values.new_tensor(signs)
