"""Reads a dataset of episodes into flat arrays, the form that training samples from; and makes of several datasets one
that has links to their episodes, which an agent learns from as it goes on playing."""

import json
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sfvgen_plan.data.minari_writer import COLLECTION_KEY, DATA_FILE, METADATA_FILE
from sfvgen_plan.data.sources import Source
from sfvgen_plan.data.staging import chunk_offsets, decompress_chunk
from sfvgen_plan.errors import UserError, unknown_name
from sfvgen_plan.io import atomic

KINDS = ("clean", "noise0.3", "noise0.7", "random", "misled")
"""How an episode was played: by the expert, by the expert with noise (0.7: random after a while), at random, by the
expert with a wrong idea of where things are."""

OWN = "own"  # the kind of an episode that an agent played by itself, without an expert's advice

SAME = ("size", "camera", "repeat", "source")  # of how episodes were made; the same in datasets that are joined


@dataclass(frozen=True)
class EpisodeArrays:
    """E episodes with F frames and A = F - E decisions altogether, one after the other in flat arrays.

    Episode e has frames ``episode_start[e] + t`` for t in 0..lengths[e], and decisions ``action_start[e] + t`` for t in
    0..lengths[e]-1; decision t leads from frame t to frame t + 1, and its reward and success belong to frame t + 1.
    """

    frames: np.ndarray  # (F, H, W, 3) uint8
    episode_start: np.ndarray  # (E,) int64, index of the first frame
    action_start: np.ndarray  # (E,) int64, index of the first decision
    lengths: np.ndarray  # (E,) int64, decisions
    actions: np.ndarray  # (A, numbers) float32 in [-1, 1], as executed
    # (A, numbers) float32 in [-1, 1], what the expert would have done instead; NaN without one
    expert_actions: np.ndarray
    reward: np.ndarray  # (A,) float32, in size at most source.reward_scale
    success: np.ndarray  # (A,) bool
    estimates: np.ndarray  # (F, D) float32, the true values of source.readouts
    state: np.ndarray  # (F, S) float32, the simulator's own numbers
    task: np.ndarray  # (E,) int64, index into tasks
    kind: np.ndarray  # (E,) str, one of KINDS or OWN; in recorded RLBench episodes also "noise0.6" and "recover"
    seed: np.ndarray  # (E,) int64
    tasks: list[str]  # task names
    instructions: list[str]  # their instructions, in the same order
    # (E,) str, what each episode was about, in the simulator's words. Tasks of RLBench have variations, of which their
    # instructions say nothing
    descriptions: np.ndarray
    # how the frames were made: by which camera, or several as in "front+wrist", whose pictures then lie one above the
    # other in a frame; their side in pixels, raw steps per decision
    camera: str
    size: int
    repeat: int
    source: Source  # what the numbers mean: names of the estimates, scale of the reward, licence
    # texts of parts of episodes, or of a whole one where its description says more than the instruction
    sub_goals: list[str] = field(default_factory=list)
    # (A,) int64, index into sub_goals of what the decision worked on, -1 where there is but the instruction; None for
    # all of them
    sub_goal: np.ndarray | None = None
    # (E,) bool, the task ended by itself, rather than being cut off; None: all were cut off
    terminated: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def load_episodes(
    path: str | Path, tasks: Sequence[str] | None = None, limit_per_task: int | None = None
) -> EpisodeArrays:
    """Read a collected dataset: only these tasks, in this order, if any are named, and the first ``limit_per_task``
    episodes of each. Raises UserError: no dataset there, or a damaged one; a task that it does not have; nothing left.
    """
    folder = Path(path)
    settings = read_metadata(folder)["collection"]
    try:
        with h5py.File(folder / DATA_FILE, "r") as file:
            chosen = _chosen([file[f"episode_{n}"] for n in range(len(file))], folder, tasks, limit_per_task)
            about = [dict(group.attrs) for group in chosen]
            arrays = _read_arrays(chosen)
            sub_goals, sub_goal = _read_sub_goals(chosen)
            terminated = np.array([bool(group["terminations"][-1]) for group in chosen])
    except (OSError, KeyError, RuntimeError, zlib.error) as error:
        raise UserError(f"data={str(folder)!r} is damaged ({error}); collect it again") from error
    instructions = {str(one["task"]): str(one["instruction"]) for one in about}
    names = list(instructions)
    source = Source.of_collection(settings, str(folder))
    if not source.reward_scale:  # the simulator didn't know it
        source = replace(source, reward_scale=float(np.abs(arrays["reward"]).max()) or 1.0)
    lengths = np.array([one["total_steps"] for one in about], np.int64)
    action_start = np.cumsum(lengths) - lengths
    return EpisodeArrays(
        **arrays, episode_start=action_start + np.arange(len(chosen)), action_start=action_start, lengths=lengths,
        task=np.array([names.index(one["task"]) for one in about], np.int64),
        kind=np.array([one["kind"] for one in about]), seed=np.array([one["seed"] for one in about], np.int64),
        tasks=names, instructions=list(instructions.values()),
        descriptions=np.array([one["description"] for one in about]), camera=str(settings["camera"]),
        size=int(settings["size"]), repeat=int(settings["repeat"]), source=source, sub_goals=sub_goals,
        sub_goal=sub_goal, terminated=terminated,
    )  # fmt: skip


def read_metadata(folder: Path) -> dict[str, Any]:
    """``metadata.json`` of a dataset that this package collected. Raises UserError: there is none, or it is damaged."""
    remedy = "collect one with `sfvgen-plan collect --out`"
    if not (folder / METADATA_FILE).is_file():
        raise UserError(f"data={str(folder)!r} is not a dataset; {remedy}")
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"data={str(folder)!r} is damaged ({METADATA_FILE}: {error}); {remedy}") from error
    if "collection" not in metadata:
        raise UserError(f"data={str(folder)!r} was not collected by this package; {remedy}")
    return metadata


def _chosen(
    episodes: Sequence[h5py.Group], folder: Path, tasks: Sequence[str] | None, limit_per_task: int | None
) -> list[h5py.Group]:
    """The wanted episodes, grouped by task in the wanted order."""
    there: dict[str, list[h5py.Group]] = {}
    for episode in episodes:
        there.setdefault(str(episode.attrs["task"]), []).append(episode)
    wanted = there if tasks is None else dict.fromkeys(tasks)
    for task in wanted:
        if task not in there:
            raise unknown_name("task", task, there)
    chosen = [episode for task in wanted for episode in there[task][:limit_per_task]]
    if not chosen:
        raise UserError(f"data={str(folder)!r} has no episodes of tasks={list(wanted)}, limit={limit_per_task}")
    return chosen


def _read_arrays(chosen: Sequence[h5py.Group]) -> dict[str, np.ndarray]:
    """The flat arrays. This thread reads (HDF5 allows one at a time), others decompress the frames."""

    def joined(name: str, part: slice = slice(None), kind: type = np.float32) -> np.ndarray:
        return np.concatenate([group[name][part].astype(kind) for group in chosen])

    pixels = [group["observations/pixels"] for group in chosen]
    ends = np.cumsum([len(dataset) for dataset in pixels])
    frames = np.empty((ends[-1], *pixels[0].shape[1:]), np.uint8)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(_decompress, map(_read_frames, pixels), np.split(frames, ends[:-1])):
            pass  # but what was raised
    return {
        "frames": frames,
        "state": joined("observations/state"),
        "estimates": joined("infos/estimates"),
        "actions": joined("actions"),
        "expert_actions": joined("infos/expert_action", slice(-1)),
        "reward": joined("rewards"),
        "success": joined("infos/success", slice(1, None), bool),
    }


def _read_frames(dataset: h5py.Dataset) -> list[tuple[tuple[int, ...], tuple[int, ...], bytes]]:
    """Shape of the chunks, and where each begins, of a dataset's frames, still compressed."""
    offsets = chunk_offsets(dataset.shape, dataset.chunks)
    return [(dataset.chunks, offset, dataset.id.read_direct_chunk(offset)[1]) for offset in offsets]


def _decompress(chunks: list[tuple[tuple[int, ...], tuple[int, ...], bytes]], out: np.ndarray) -> None:
    for chunk, offset, content in chunks:
        decompress_chunk(content, offset, chunk, out)


def _read_sub_goals(chosen: Sequence[h5py.Group]) -> tuple[list[str], np.ndarray]:
    """All texts, sorted, and which of them each decision worked on, -1 for none. An episode without sub-goals has one
    where its description says more than the task's instruction."""
    told: list[tuple[list[str], np.ndarray]] = []
    for group in chosen:
        about, decisions = group.attrs, len(group["actions"])
        texts = json.loads(about.get("sub_goals", "[]"))
        index = group["infos/sub_goal"][:-1] if texts else np.full(decisions, -1)
        if not texts and about["description"] != about["instruction"]:
            texts, index = [about["description"]], np.zeros(decisions, np.int64)
        told.append((texts, index))
    known = sorted({text for texts, _ in told for text in texts})
    place = {text: number for number, text in enumerate(known)}
    # The last row, which -1 finds, stands for no text.
    parts = [np.array([*(place[text] for text in texts), -1], np.int64)[index] for texts, index in told]
    return known, np.concatenate(parts)


def join_datasets(out: Path, parts: Sequence[Path], tasks: Sequence[str], demonstrations: int | None = None) -> None:
    """Make the folder ``out``, as a whole or not at all, a dataset of the parts' episodes of these tasks, in their
    order; of the first part only so many ``demonstrations``, clean episodes of each task, unless None. They stay where
    they are, and must. Raises UserError: a part is no dataset, or its frames were made differently."""
    metadata = [read_metadata(part) for part in parts]
    first = metadata[0]
    for part, other in zip(parts, metadata, strict=True):
        for name in SAME:
            if (found := other[COLLECTION_KEY].get(name)) != (wanted := first[COLLECTION_KEY].get(name)):
                raise UserError(f"data={str(part)!r} has {name}={found!r}, not {wanted!r} as {str(parts[0])!r}")
    count = steps = 0
    with atomic(out, "out") as staged:
        staged.mkdir()
        with h5py.File(staged / DATA_FILE, "w") as file:
            for part in parts:
                few = demonstrations if part is parts[0] else None
                path = os.path.relpath((part / DATA_FILE).resolve(), out.resolve())
                for name, decisions in _episodes(part, tasks, few):
                    file[f"episode_{count}"] = h5py.ExternalLink(path, name)
                    count, steps = count + 1, steps + decisions
        told = {**first, "total_episodes": count, "total_steps": steps}
        (staged / METADATA_FILE).write_text(json.dumps(told), encoding="utf-8")


def _episodes(part: Path, tasks: Sequence[str], demonstrations: int | None) -> list[tuple[str, int]]:
    """Names and decisions of the episodes that are wanted."""
    wanted: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    with h5py.File(part / DATA_FILE, "r") as file:
        for name in (f"episode_{number}" for number in range(len(file))):
            about = file[name].attrs
            if about["task"] not in tasks:
                continue
            seen[about["task"]] += about["kind"] == "clean"
            if demonstrations is None or (about["kind"] == "clean" and seen[about["task"]] <= demonstrations):
                wanted.append((name, int(about["total_steps"])))
    return wanted
