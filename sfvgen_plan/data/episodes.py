"""Reads a dataset of episodes into flat arrays, the form that training samples from."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sfvgen_plan.data.chunks import chunk_offsets, decompress_chunk
from sfvgen_plan.data.minari_writer import DATA_FILE, METADATA_FILE
from sfvgen_plan.data.sources import Source
from sfvgen_plan.errors import UserError, unknown_name

KINDS = ("clean", "noise0.3", "noise0.7", "random", "misled")
"""How an episode was played: by the expert, by the expert with noise (0.7: random after a while), at random, by the
expert with a wrong idea of where things are."""

OWN = "own"
"""The kind of an episode that an agent played by itself, without an expert's advice."""

_PENDING_PER_THREAD = 4


@dataclass(frozen=True)
class EpisodeArrays:
    """E episodes with F frames and A = F - E decisions altogether, one after the other in flat arrays.

    Episode e has frames ``episode_start[e] + t`` for t in 0..lengths[e], and decisions ``action_start[e] + t`` for t in
    0..lengths[e]-1; decision t leads from frame t to frame t + 1, and its reward and success belong to frame t + 1.

    Attributes:
        frames: (F, H, W, 3) uint8.
        episode_start: (E,) int64, index of the first frame.
        action_start: (E,) int64, index of the first decision.
        lengths: (E,) int64, decisions.
        actions: (A, numbers) float32 in [-1, 1], as executed.
        expert_actions: (A, numbers) float32 in [-1, 1], what the expert would have done instead; NaN without one.
        reward: (A,) float32, in size at most ``source.reward_scale``.
        success: (A,) bool.
        estimates: (F, D) float32, the true values of ``source.readouts``.
        state: (F, S) float32, the simulator's own numbers.
        task: (E,) int64, index into ``tasks``.
        kind: (E,) str, one of ``KINDS`` or ``OWN``; in recorded RLBench episodes also "noise0.6" and "recover".
        seed: (E,) int64.
        tasks: task names.
        instructions: their instructions, in the same order.
        descriptions: (E,) str, what each episode was about, in the simulator's words. Tasks of RLBench have variations,
            of which their instructions say nothing.
        camera, size, repeat: how the frames were made: by which camera, or several as in "front+wrist", whose pictures
            then lie one above the other in a frame; their side in pixels, raw steps per decision.
        source: what the numbers mean: names of the estimates, scale of the reward, licence.
        sub_goals: texts of parts of episodes, or of a whole one where its description says more than the instruction.
        sub_goal: (A,) int64, index into ``sub_goals`` of what the decision worked on, -1 where there is but the
            instruction; None for all of them.
        terminated: (E,) bool, the task ended by itself, rather than being cut off; None: all were cut off.
    """

    frames: np.ndarray
    episode_start: np.ndarray
    action_start: np.ndarray
    lengths: np.ndarray
    actions: np.ndarray
    expert_actions: np.ndarray
    reward: np.ndarray
    success: np.ndarray
    estimates: np.ndarray
    state: np.ndarray
    task: np.ndarray
    kind: np.ndarray
    seed: np.ndarray
    tasks: list[str]
    instructions: list[str]
    descriptions: np.ndarray
    camera: str
    size: int
    repeat: int
    source: Source
    sub_goals: list[str] = field(default_factory=list)
    sub_goal: np.ndarray | None = None
    terminated: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.lengths)


@dataclass(frozen=True)
class _Entry:
    """An episode of the file, before its arrays are read."""

    index: int
    task: str
    instruction: str
    description: str
    kind: str
    seed: int
    decisions: int
    terminated: bool


def load_episodes(
    path: str | Path,
    tasks: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    limit_per_task: int | None = None,
    threads: int | None = None,
) -> EpisodeArrays:
    """Read a collected dataset, all of it or a part.

    Args:
        path: folder that ``sfvgen-plan collect`` wrote.
        tasks: only these, and in this order; default all.
        kinds: only episodes of these kinds; default all.
        limit_per_task: of what is left, the first episodes of each task.
        threads: for decompression; default one per core.

    Raises:
        UserError: no dataset there, or a damaged one; a task or kind it does not have; nothing left.
    """
    folder = Path(path)
    settings = read_metadata(folder)["collection"]
    try:
        with h5py.File(folder / DATA_FILE, "r") as file:
            entries = [_entry(file, index) for index in range(len(file))]
            chosen = _choose(entries, folder, tasks, kinds, limit_per_task)
            lengths = np.array([entry.decisions for entry in chosen], np.int64)
            action_start = np.cumsum(lengths) - lengths
            arrays = _read_arrays(file, chosen, lengths, action_start, threads or os.cpu_count() or 1)
            sub_goals, sub_goal = _read_sub_goals(file, chosen)
    except (OSError, KeyError, RuntimeError, zlib.error) as error:
        raise UserError(f"data={str(folder)!r} is damaged ({error}); collect it again") from error
    names = list(dict.fromkeys(entry.task for entry in chosen))
    instructions = {entry.task: entry.instruction for entry in chosen}
    return EpisodeArrays(
        **arrays,
        episode_start=action_start + np.arange(len(chosen)),
        action_start=action_start,
        lengths=lengths,
        task=np.array([names.index(entry.task) for entry in chosen], np.int64),
        kind=np.array([entry.kind for entry in chosen]),
        seed=np.array([entry.seed for entry in chosen], np.int64),
        tasks=names,
        instructions=[instructions[name] for name in names],
        descriptions=np.array([entry.description for entry in chosen]),
        camera=str(settings["camera"]),
        size=int(settings["size"]),
        repeat=int(settings["repeat"]),
        source=_measured(Source.of_collection(settings, str(folder)), arrays["reward"]),
        sub_goals=sub_goals,
        sub_goal=sub_goal,
        terminated=np.array([entry.terminated for entry in chosen]),
    )


def read_metadata(folder: Path) -> dict[str, Any]:
    """``metadata.json`` of a dataset that this package collected.

    Raises:
        UserError: there is none, or it is damaged.
    """
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


def _measured(source: Source, reward: np.ndarray) -> Source:
    """With the scale of rewards (A,) where the simulator didn't know it."""
    return source if source.reward_scale else replace(source, reward_scale=float(np.abs(reward).max()) or 1.0)


def _entry(file: h5py.File, index: int) -> _Entry:
    attributes = file[f"episode_{index}"].attrs
    return _Entry(
        index,
        str(attributes["task"]),
        str(attributes["instruction"]),
        str(attributes["description"]),
        str(attributes["kind"]),
        int(attributes["seed"]),
        int(attributes["total_steps"]),
        bool(file[f"episode_{index}/terminations"][-1]),
    )


def _choose(
    entries: list[_Entry],
    folder: Path,
    tasks: Sequence[str] | None,
    kinds: Sequence[str] | None,
    limit_per_task: int | None,
) -> list[_Entry]:
    """The wanted episodes, grouped by task in the wanted order."""
    present = list(dict.fromkeys(entry.task for entry in entries))
    wanted = present if tasks is None else list(dict.fromkeys(tasks))
    for task in wanted:
        if task not in present:
            raise unknown_name("task", task, present)
    known = {*KINDS, *(entry.kind for entry in entries)}
    for kind in kinds or ():
        if kind not in known:
            raise unknown_name("kind", kind, known)
    rank = {task: position for position, task in enumerate(wanted)}
    left = [entry for entry in entries if entry.task in rank and (kinds is None or entry.kind in kinds)]
    left.sort(key=lambda entry: rank[entry.task])
    taken: Counter[str] = Counter()
    chosen = []
    for entry in left:
        if limit_per_task is None or taken[entry.task] < limit_per_task:
            taken[entry.task] += 1
            chosen.append(entry)
    if not chosen:
        raise UserError(
            f"data={str(folder)!r} has no episodes of tasks={wanted}, kinds={kinds}, limit={limit_per_task}"
        )
    return chosen


def _read_arrays(
    file: h5py.File, chosen: list[_Entry], lengths: np.ndarray, action_start: np.ndarray, threads: int
) -> dict[str, np.ndarray]:
    """The flat arrays. This thread reads (HDF5 allows one at a time), the others decompress."""
    first = file[f"episode_{chosen[0].index}"]
    decisions, total = int(lengths.sum()), int(lengths.sum()) + len(chosen)
    out = {
        "frames": np.empty((total, *first["observations/pixels"].shape[1:]), np.uint8),
        "state": np.empty((total, first["observations/state"].shape[1]), np.float32),
        "estimates": np.empty((total, first["infos/estimates"].shape[1]), np.float32),
        "actions": np.empty((decisions, first["actions"].shape[1]), np.float32),
        "expert_actions": np.empty((decisions, first["actions"].shape[1]), np.float32),
        "reward": np.empty(decisions, np.float32),
        "success": np.empty(decisions, bool),
    }
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        for number, entry in enumerate(chosen):
            group = file[f"episode_{entry.index}"]
            start, length = int(action_start[number]), entry.decisions
            frames = slice(start + number, start + number + length + 1)
            steps = slice(start, start + length)
            out["state"][frames] = group["observations/state"][()]
            out["estimates"][frames] = group["infos/estimates"][()]
            out["actions"][steps] = group["actions"][()]
            out["expert_actions"][steps] = group["infos/expert_action"][:-1]
            out["reward"][steps] = group["rewards"][()]
            out["success"][steps] = group["infos/success"][1:]
            pending.append(_read_frames(group["observations/pixels"], out["frames"][frames], pool))
            if len(pending) >= threads * _PENDING_PER_THREAD:
                pending.pop(0).result()
        for future in pending:
            future.result()
    return out


def _read_sub_goals(file: h5py.File, chosen: list[_Entry]) -> tuple[list[str], np.ndarray]:
    """All texts, sorted, and which of them each decision worked on, -1 for none. An episode without sub-goals has one
    where its description says more than the task's instruction."""
    told: list[tuple[list[str], np.ndarray]] = []
    for entry in chosen:
        group = file[f"episode_{entry.index}"]
        texts = json.loads(group.attrs.get("sub_goals", "[]"))
        index = group["infos/sub_goal"][:-1] if texts else np.full(entry.decisions, -1)
        if not texts and entry.description != entry.instruction:
            texts, index = [entry.description], np.zeros(entry.decisions, np.int64)
        told.append((texts, index))
    known = sorted({text for texts, _ in told for text in texts})
    place = {text: number for number, text in enumerate(known)}
    # The last row, which -1 finds, stands for no text.
    parts = [np.array([*(place[text] for text in texts), -1], np.int64)[index] for texts, index in told]
    return known, np.concatenate(parts)


def _read_frames(dataset: h5py.Dataset, out: np.ndarray, pool: ThreadPoolExecutor) -> Future[None]:
    """Read the compressed chunks now, have them decompressed into ``out`` later."""
    shape, chunk = dataset.shape, dataset.chunks
    packed = [(dataset.id.read_direct_chunk(offset)[1], offset) for offset in chunk_offsets(shape, chunk)]

    def decompress() -> None:
        for content, offset in packed:
            decompress_chunk(content, offset, chunk, out)

    return pool.submit(decompress)
