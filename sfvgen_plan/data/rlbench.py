"""Recorded RLBench episodes: ``<task>.npz`` with the numbers, ``<task>_<camera>.mp4`` with the frames of all episodes.

They are read into the same arrays as collected datasets, or turned into one. Licence of the recordings: RLBench's,
which is for non-commercial research only; it goes with whatever is made from them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.data.episodes import EpisodeArrays
from sfvgen_plan.data.rlbench_state import SOURCE, TASK_PREFIX, estimates_of, instruction_of, pack_state
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.errors import UserError, unknown_name

SPLITS = ("train", "test")
KINDS = ("clean", "noise0.3", "noise0.6", "random")
FIELDS = (
    "cameras", "lengths", "action_ends", "frame_ends", "gripper_pose", "gripper_open", "joint_positions",
    "task_low_dim_state", "action", "expert_action", "reward", "success", "seed", "kind", "split",
    "descriptions", "reset_state_difference",
)  # fmt: skip

_ANOTHER_SCENE = 0.02
"""Difference of the task state between the expert's start and the episode's, above which its advice is of no use."""
_ORDER_CHANGES = ("take_lid_off_saucepan",)
"""Tasks whose state lists the objects in another order each time: the difference means nothing there."""


@dataclass(frozen=True)
class _Recording:
    """One task's arrays, and which of its episodes are wanted."""

    task: str
    arrays: dict[str, np.ndarray]
    video: Path
    chosen: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return self.arrays["lengths"][self.chosen].astype(np.int64)

    def rows(self, name: str, per_frame: bool) -> np.ndarray:
        """The chosen episodes' part of an array with a row per frame or per action."""
        ends, extra = self.arrays["frame_ends" if per_frame else "action_ends"], int(per_frame)
        lengths = self.arrays["lengths"] + extra
        parts = [self.arrays[name][ends[e] - lengths[e] : ends[e]] for e in self.chosen]
        return np.concatenate(parts) if parts else self.arrays[name][:0]


def is_recording(folder: Path) -> bool:
    """Whether ``folder`` holds recorded RLBench episodes."""
    return any((folder / f"{file.stem}_front.mp4").is_file() for file in folder.glob("*.npz"))


def load_recordings(
    path: str | Path,
    tasks: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    limit_per_task: int | None = None,
    split: str = "train",
    camera: str = "front",
    threads: int = 2,
) -> EpisodeArrays:
    """Read recorded episodes, without those whose expert solved another scene (five of them).

    Args:
        path: folder with the recordings.
        tasks: with or without the "rlbench/" prefix, in the wanted order; default all.
        kinds: some of ``KINDS``; default all.
        limit_per_task: of what is left, the first episodes of each task.
        split: "train" or "test", which is held out of training.
        camera: "front"; "wrist" for the tasks that have it.
        threads: videos decoded at once.

    Raises:
        UserError: no recordings there, or damaged ones; an unknown task, kind, split or camera; nothing left.
    """
    folder = Path(path)
    if not is_recording(folder):
        raise UserError(f"data={str(folder)!r} has no RLBench recordings (<task>.npz with <task>_front.mp4)")
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    for kind in kinds or ():
        if kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)
    present = sorted(file.stem for file in folder.glob("*.npz"))
    wanted = present if tasks is None else list(dict.fromkeys(task.removeprefix(TASK_PREFIX) for task in tasks))
    for task in wanted:
        if task not in present:
            raise unknown_name("task", task, present)
    recordings = [_open(folder, task, kinds, limit_per_task, split, camera) for task in wanted]
    recordings = [recording for recording in recordings if len(recording.chosen)]
    if not recordings:
        raise UserError(
            f"data={str(folder)!r} has no episodes of tasks={wanted}, kinds={kinds}, limit={limit_per_task}"
        )
    with ThreadPoolExecutor(threads) as pool:
        frames = np.concatenate(list(pool.map(_decode, recordings)))
    return _arrays(recordings, frames, camera)


def convert(
    path: str | Path,
    out: str | Path,
    tasks: Sequence[str] | None = None,
    split: str = "train",
    camera: str = "front",
    on_episode: Callable[[], None] = lambda: None,
) -> int:
    """Turn recordings into a dataset as ``sfvgen-plan collect`` makes them; returns the number of episodes.

    Args:
        path, tasks, split, camera: see ``load_recordings``.
        out: folder to make; it appears when it is complete.
        on_episode: called after each episode.

    Raises:
        UserError: what ``load_recordings`` refuses; ``out`` is there already.
    """
    from sfvgen_plan.data.minari_writer import write_dataset

    out = Path(out)
    if out.exists():
        raise UserError(f"out={str(out)!r} is there already; choose another folder or delete it")
    episodes = load_recordings(path, tasks, split=split, camera=camera)
    settings: dict[str, Any] = {
        "tasks": episodes.tasks, "camera": camera, "size": episodes.size, "repeat": episodes.repeat, "split": split,
        "source": SOURCE.as_dict(), "env_id": "sfvgen/RLBench-v0",
    }  # fmt: skip

    def staged() -> Iterator[StagedEpisode]:
        for number in range(len(episodes)):
            yield _staged(episodes, number)
            on_episode()

    write_dataset(out, out.name, staged(), settings)
    return len(episodes)


def _open(
    folder: Path, task: str, kinds: Sequence[str] | None, limit: int | None, split: str, camera: str
) -> _Recording:
    try:
        with np.load(folder / f"{task}.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in FIELDS}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"data={str(folder / f'{task}.npz')!r} is damaged ({error}); copy it again") from error
    video = folder / f"{task}_{camera}.mp4"
    if camera not in arrays["cameras"] or not video.is_file():
        cameras = ", ".join(map(str, arrays["cameras"]))
        raise UserError(f"camera={camera!r} was not recorded for {task}; it has {cameras}")
    keep = arrays["split"] == split
    if kinds is not None:
        keep &= np.isin(arrays["kind"], list(kinds))
    if task not in _ORDER_CHANGES:
        keep &= arrays["reset_state_difference"] <= _ANOTHER_SCENE
    return _Recording(task, arrays, video, np.flatnonzero(keep)[:limit])


def _decode(recording: _Recording) -> np.ndarray:
    """The frames (F, H, W, 3) uint8 of the chosen episodes."""
    import imageio_ffmpeg  # Looks for its program when it is imported.

    ends, lengths = recording.arrays["frame_ends"], recording.arrays["lengths"] + 1
    wanted = np.zeros(int(ends[-1]), bool)
    for e in recording.chosen:
        wanted[ends[e] - lengths[e] : ends[e]] = True
    last = int(np.flatnonzero(wanted)[-1])
    frames: np.ndarray | None = None
    count, number = 0, -1
    try:
        reader = imageio_ffmpeg.read_frames(str(recording.video), pix_fmt="rgb24")
        width, height = next(reader)["size"]
        frames = np.empty((int(wanted.sum()), height, width, 3), np.uint8)
        for number, content in enumerate(reader):
            if wanted[number]:
                frames[count] = np.frombuffer(content, np.uint8).reshape(height, width, 3)
                count += 1
            if number == last:
                break
        reader.close()
    except (OSError, RuntimeError, IndexError, StopIteration) as error:
        raise UserError(f"data={str(recording.video)!r} can't be decoded ({error}); copy it again") from error
    if count != len(frames):
        raise UserError(f"data={str(recording.video)!r} is too short: {number + 1} of {len(wanted)} frames")
    return frames


def _arrays(recordings: list[_Recording], frames: np.ndarray, camera: str) -> EpisodeArrays:
    lengths = np.concatenate([recording.lengths for recording in recordings])
    action_start = np.cumsum(lengths) - lengths
    states = [
        pack_state(
            recording.rows("gripper_pose", True),
            recording.rows("gripper_open", True),
            recording.rows("joint_positions", True),
            recording.rows("task_low_dim_state", True),
        )
        for recording in recordings
    ]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([recording.rows(name, False) for recording in recordings])

    def listed(name: str) -> np.ndarray:
        return np.concatenate([recording.arrays[name][recording.chosen] for recording in recordings])

    state = np.concatenate(states)
    return EpisodeArrays(
        frames=frames,
        episode_start=action_start + np.arange(len(lengths)),
        action_start=action_start,
        lengths=lengths,
        actions=joined("action").astype(np.float32),
        expert_actions=joined("expert_action").astype(np.float32),
        reward=joined("reward").astype(np.float32),
        success=joined("success").astype(bool),
        estimates=estimates_of(state),
        state=state.astype(np.float32),
        task=np.repeat(np.arange(len(recordings)), [len(recording.chosen) for recording in recordings]),
        kind=listed("kind"),
        seed=listed("seed").astype(np.int64),
        tasks=[TASK_PREFIX + recording.task for recording in recordings],
        instructions=[instruction_of(recording.task) for recording in recordings],
        descriptions=np.array([json.loads(texts)[0] for texts in listed("descriptions")]),
        camera=camera,
        size=int(frames.shape[1]),
        repeat=1,
        source=SOURCE,
        sub_goal=np.full(int(lengths.sum()), -1, np.int64),
    )


def _staged(episodes: EpisodeArrays, number: int) -> StagedEpisode:
    length, action = int(episodes.lengths[number]), int(episodes.action_start[number])
    first = int(episodes.episode_start[number])
    frames, steps = slice(first, first + length + 1), slice(action, action + length)
    expert = episodes.expert_actions[steps]
    task = int(episodes.task[number])
    return StagedEpisode.from_frames(
        episodes.frames[frames],
        task=episodes.tasks[task],
        instruction=episodes.instructions[task],
        description=str(episodes.descriptions[number]),
        kind=str(episodes.kind[number]),
        seed=int(episodes.seed[number]),
        state=episodes.state[frames].astype(np.float64),
        estimates=episodes.estimates[frames],
        actions=episodes.actions[steps],
        # No advice was recorded for the last frame, and none is read.
        expert_actions=np.concatenate([expert, np.zeros_like(expert[:1])]),
        rewards=episodes.reward[steps].astype(np.float64),
        success=np.concatenate([[False], episodes.success[steps]]),
    )
