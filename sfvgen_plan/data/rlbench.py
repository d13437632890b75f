"""Recorded RLBench episodes: ``<task>.npz`` with the numbers, ``<task>_<camera>.mp4`` with the frames of all episodes.

They are turned into a dataset as ``sfvgen-plan collect`` makes them. Licence of the recordings: RLBench's, which is for
non-commercial research only; it goes with whatever is made from them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.data.minari_writer import write_dataset
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


def convert(
    path: str | Path,
    out: str | Path,
    tasks: Sequence[str] | None = None,
    split: str = "train",
    camera: str = "front",
    on_episode: Callable[[], None] = lambda: None,
) -> int:
    """Turn recordings into a dataset, without the episodes whose expert solved another scene (five of them); returns
    the number of episodes.

    Args:
        path: folder with the recordings.
        out: folder to make; it appears when it is complete.
        tasks: with or without the "rlbench/" prefix, in the wanted order; default all.
        split: "train" or "test", which is held out of training.
        camera: "front"; "wrist" for the tasks that have it.
        on_episode: called after each episode.

    Raises:
        UserError: no recordings there, or damaged ones; an unknown task, split or camera; no episodes; ``out`` is there
            already.
    """
    folder, out = Path(path), Path(out)
    if out.exists():
        raise UserError(f"out={str(out)!r} is there already; choose another folder or delete it")
    present = sorted(file.stem for file in folder.glob("*.npz") if (folder / f"{file.stem}_front.mp4").is_file())
    if not present:
        raise UserError(f"data={str(folder)!r} has no RLBench recordings (<task>.npz with <task>_front.mp4)")
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    wanted = present if tasks is None else list(dict.fromkeys(task.removeprefix(TASK_PREFIX) for task in tasks))
    for task in wanted:
        if task not in present:
            raise unknown_name("task", task, present)
    recordings = [_open(folder, task, split, camera) for task in wanted]
    recordings = [recording for recording in recordings if len(recording.chosen)]
    if not recordings:
        raise UserError(f"data={str(folder)!r} has no episodes of split={split!r} of {', '.join(wanted)}")
    settings: dict[str, Any] = {
        "tasks": [TASK_PREFIX + recording.task for recording in recordings], "camera": camera,
        "size": next(iter(_frames(recordings[0]))).shape[0], "repeat": 1, "split": split,
        "source": SOURCE.as_dict(), "env_id": "sfvgen/RLBench-v0",
    }  # fmt: skip

    def episodes() -> Iterator[StagedEpisode]:
        for recording in recordings:
            for episode in _episodes(recording):
                yield episode
                on_episode()

    write_dataset(out, out.name, episodes(), settings)
    return sum(len(recording.chosen) for recording in recordings)


@dataclass(frozen=True)
class _Recording:
    """One task's arrays, and which of its episodes are wanted."""

    task: str
    arrays: dict[str, np.ndarray]
    video: Path
    chosen: np.ndarray


def _open(folder: Path, task: str, split: str, camera: str) -> _Recording:
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
    if task not in _ORDER_CHANGES:
        keep &= arrays["reset_state_difference"] <= _ANOTHER_SCENE
    return _Recording(task, arrays, video, np.flatnonzero(keep))


def _frames(recording: _Recording) -> Iterator[np.ndarray]:
    """All frames (H, W, 3) uint8 of a video."""
    import imageio_ffmpeg  # Looks for its program when it is imported.

    try:
        reader = imageio_ffmpeg.read_frames(str(recording.video), pix_fmt="rgb24")
        width, height = next(reader)["size"]
        for content in reader:
            yield np.frombuffer(content, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration, ValueError) as error:
        raise UserError(f"data={str(recording.video)!r} can't be decoded ({error}); copy it again") from error


def _episodes(recording: _Recording) -> Iterator[StagedEpisode]:
    """The chosen episodes of a task, in their order."""
    arrays, video, at = recording.arrays, _frames(recording), 0
    for number in recording.chosen:
        length, end = int(arrays["lengths"][number]), int(arrays["frame_ends"][number])
        shown = slice(end - length - 1, end)
        steps = slice(int(arrays["action_ends"][number]) - length, int(arrays["action_ends"][number]))
        pictures = [frame for at, frame in zip(range(at, end), video, strict=False) if at >= shown.start]
        if len(pictures) != length + 1:
            raise UserError(f"data={str(recording.video)!r} is too short; copy it again")
        at = end
        names = ("gripper_pose", "gripper_open", "joint_positions", "task_low_dim_state")
        state = pack_state(*(arrays[name][shown] for name in names))
        expert = arrays["expert_action"][steps].astype(np.float32)
        yield StagedEpisode.from_frames(
            np.stack(pictures),
            task=TASK_PREFIX + recording.task,
            instruction=instruction_of(recording.task),
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
