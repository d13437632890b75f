"""Recorded RLBench episodes: ``<task>.npz`` with the numbers, ``<task>_<camera>.mp4`` with the frames of all episodes.

They are turned into a dataset as ``sfvgen-plan collect`` makes them. Advice that is no solution is left out: of an
expert that solved another scene; in an episode that failed, or while a recovering one is disturbed, once things have
moved from their places, for the expert follows its path whatever happened to them.

Licence of the recordings: RLBench's, which is for non-commercial research only; it goes with whatever is made from
them.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.cameras import cameras_of
from sfvgen_plan.data.minari_writer import write_dataset
from sfvgen_plan.data.rlbench_state import SOURCE, TASK_PREFIX, estimates_of, pack_state
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.errors import UserError, unknown_name

SPLITS = ("train", "test")
CAMERA = "front+wrist"
FIELDS = (
    "cameras", "lengths", "action_ends", "frame_ends", "gripper_pose", "gripper_open", "joint_positions",
    "task_low_dim_state", "action", "expert_action", "reward", "success", "seed", "kind", "split",
    "descriptions", "reset_state_difference", "episode_success",
)  # fmt: skip
_RECOVERING = ("recover_noise_start", "recover_replan")  # fields of recordings that have episodes of that kind

_ANOTHER_SCENE = 0.02
"""Difference of the task state between the expert's start and the episode's, above which its advice is of no use."""
_ORDER_CHANGES = ("take_lid_off_saucepan",)
"""Tasks whose state lists the objects in another order each time: the difference means nothing there."""
_MOVED = 0.01
"""Metres, and numbers of a quaternion: things have moved when a number of the task's state changes by more."""


def convert(
    paths: Sequence[str | Path],
    out: str | Path,
    tasks: Sequence[str] | None = None,
    split: str = "train",
    camera: str = CAMERA,
    on_episode: Callable[[], None] = lambda: None,
) -> int:
    """Turn folders of recordings into a dataset, ``out``, which appears when it is complete; returns the number of
    episodes. Raises UserError: no recordings there, or damaged ones; an unknown task, split or camera; no episodes;
    ``out`` is there already.

    Args:
        tasks: with or without the "rlbench/" prefix, in the wanted order; default all.
        split: "train" or "test", which is held out of training.
        camera: "front", "wrist", or "front+wrist" for both, where the picture of one that did not film is black.
        on_episode: called after each episode.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"out={str(out)!r} is there already; choose another folder or delete it")
    have = {folder: _tasks_of(folder) for folder in map(Path, paths)}
    present = sorted({task for tasks in have.values() for task in tasks})
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    wanted = present if tasks is None else list(dict.fromkeys(task.removeprefix(TASK_PREFIX) for task in tasks))
    for task in wanted:
        if task not in present:
            raise unknown_name("task", task, present)
    recordings = [_open(folder, task, split, camera) for task in wanted for folder in have if task in have[folder]]
    recordings = [recording for recording in recordings if len(recording.chosen)]
    if not recordings:
        folders = ", ".join(map(str, have))
        raise UserError(f"data={folders!r} has no episodes of split={split!r} of {', '.join(wanted)}")
    settings: dict[str, Any] = {
        "tasks": list(dict.fromkeys(TASK_PREFIX + recording.task for recording in recordings)), "camera": camera,
        "size": next(_frames(recordings[0])).shape[1], "repeat": 1, "split": split,
        "source": SOURCE.as_dict(), "env_id": "sfvgen/RLBench-v0",
    }  # fmt: skip

    def converted(recording: _Recording) -> list[StagedEpisode]:
        found = []
        for episode in _episodes(recording):
            found.append(episode)
            on_episode()
        return found

    # Compressing frames takes most of the time, and needs no interpreter lock.
    with ThreadPoolExecutor(cpu_cores()) as pool:
        write_dataset(out, out.name, chain.from_iterable(pool.map(converted, recordings)), settings)
    return sum(len(recording.chosen) for recording in recordings)


@dataclass(frozen=True)
class _Recording:
    """One task's arrays, and which of its episodes are wanted."""

    task: str
    arrays: dict[str, np.ndarray]
    videos: list[Path | None]
    chosen: np.ndarray


def _tasks_of(folder: Path) -> list[str]:
    tasks = sorted(file.stem for file in folder.glob("*.npz") if (folder / f"{file.stem}_front.mp4").is_file())
    if not tasks:
        raise UserError(f"data={str(folder)!r} has no RLBench recordings (<task>.npz with <task>_front.mp4)")
    return tasks


def _open(folder: Path, task: str, split: str, camera: str) -> _Recording:
    try:
        with np.load(folder / f"{task}.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*FIELDS, *(name for name in _RECOVERING if name in file))}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"data={str(folder / f'{task}.npz')!r} is damaged ({error}); copy it again") from error
    videos: list[Path | None] = []
    for name in cameras_of(camera):
        video = folder / f"{task}_{name}.mp4"
        videos.append(video if name in arrays["cameras"] and video.is_file() else None)
    if not any(videos):
        cameras = ", ".join(map(str, arrays["cameras"]))
        raise UserError(f"camera={camera!r} was not recorded for {task}; it has {cameras}")
    return _Recording(task, arrays, videos, np.flatnonzero(arrays["split"] == split))


def _frames(recording: _Recording) -> Iterator[np.ndarray]:
    """All frames (H, W, 3) uint8, the cameras' pictures one above the other."""
    readers = [_pictures(video) for video in recording.videos if video]
    for found in zip(*readers, strict=False):
        filmed = iter(found)
        shown = [next(filmed) if video else np.zeros_like(found[0]) for video in recording.videos]
        yield np.concatenate(shown)


def _pictures(video: Path) -> Iterator[np.ndarray]:
    """All pictures (S, S, 3) uint8 of a video."""
    import imageio_ffmpeg  # Looks for its program when it is imported.

    try:
        reader = imageio_ffmpeg.read_frames(str(video), pix_fmt="rgb24")
        width, height = next(reader)["size"]
        for content in reader:
            yield np.frombuffer(content, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration, ValueError) as error:
        raise UserError(f"data={str(video)!r} can't be decoded ({error}); copy it again") from error


def _episodes(recording: _Recording) -> Iterator[StagedEpisode]:
    """The chosen episodes of a task, in their order."""
    arrays, film, at = recording.arrays, _frames(recording), 0
    for number in recording.chosen:
        length, end = int(arrays["lengths"][number]), int(arrays["frame_ends"][number])
        shown = slice(end - length - 1, end)
        steps = slice(int(arrays["action_ends"][number]) - length, int(arrays["action_ends"][number]))
        pictures = [frame for at, frame in zip(range(at, end), film, strict=False) if at >= shown.start]
        if len(pictures) != length + 1:
            videos = ", ".join(str(video) for video in recording.videos if video)
            raise UserError(f"data={videos!r} is too short; copy it again")
        at = end
        names = ("gripper_pose", "gripper_open", "joint_positions", "task_low_dim_state")
        state = pack_state(*(arrays[name][shown] for name in names))
        expert = arrays["expert_action"][steps].astype(np.float32)
        expert[~_solves(recording, int(number), arrays["task_low_dim_state"][shown])] = np.nan
        yield StagedEpisode.from_frames(
            np.stack(pictures),
            task=TASK_PREFIX + recording.task,
            instruction=recording.task.replace("_", " "),
            description=json.loads(str(arrays["descriptions"][number]))[0],
            kind=str(arrays["kind"][number]),
            seed=int(arrays["seed"][number]),
            state=state,
            estimates=estimates_of(state),
            actions=arrays["action"][steps].astype(np.float32),
            # No advice was recorded for the last frame, and none is read.
            expert_actions=np.concatenate([expert, np.zeros_like(expert[:1])]),
            rewards=arrays["reward"][steps].astype(np.float64),
            success=np.concatenate([[False], arrays["success"][steps]]).astype(bool),
        )


def _solves(recording: _Recording, number: int, things: np.ndarray) -> np.ndarray:
    """(T,) bool: in which decisions of an episode the expert's advice leads to success, as far as is known.

    ``things`` (T + 1, D) is the task's state, whose quaternions may change their sign.
    """
    arrays, decisions = recording.arrays, len(things) - 1
    if recording.task not in _ORDER_CHANGES and arrays["reset_state_difference"][number] > _ANOTHER_SCENE:
        return np.zeros(decisions, bool)
    moved = (np.abs(np.abs(things) - np.abs(things[0])).max(1) > _MOVED).cumsum()[:-1] > 0
    disturbed, planned_again = decisions, decisions
    if all(name in arrays for name in _RECOVERING) and arrays["recover_replan"][number] >= 0:
        disturbed, planned_again = (int(arrays[name][number]) for name in _RECOVERING)
    decision = np.arange(decisions)
    lost = (decision >= disturbed) | (not arrays["episode_success"][number])
    return ~(lost & moved) | (decision >= planned_again)
