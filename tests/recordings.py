"""Small recordings in the format of ``sfvgen_plan.data.rlbench``."""

import json

import imageio_ffmpeg
import numpy as np
from scipy.spatial.transform import Rotation

SIZE = 32
LENGTHS = (3, 5, 2, 4)


def grey(task, frame):
    """Grey level of a frame of the files below, far enough from its neighbours to survive compression."""
    return 30 + 100 * task + 5 * frame


def write_greys(path, levels, size, fps=10):
    """A video of frames of (width, height), each of one grey level and hardly compressed."""
    whole = {"pix_fmt_out": "yuv444p", "quality": None, "output_params": ["-crf", "1"], "macro_block_size": 1}
    writer = imageio_ffmpeg.write_frames(str(path), size, fps=fps, **whole)
    writer.send(None)
    for level in levels:
        writer.send(np.full((*size[::-1], 3), level, np.uint8))
    writer.close()


def write_recording(folder, task, number, difference=0.0, cameras=("front",), **more):
    """Four episodes, the last of them for testing; every number tells its row. ``more`` arrays replace these."""
    lengths = np.array(LENGTHS, np.int32)
    frame_ends, action_ends = np.cumsum(lengths + 1), np.cumsum(lengths)
    frames, actions = int(frame_ends[-1]), int(action_ends[-1])
    rows = np.arange(frames, dtype=np.float32)
    turns = Rotation.from_euler("z", rows[:, None] / 10).as_quat()
    arrays = dict(
        task=task,
        cameras=np.array(cameras),
        lengths=lengths,
        frame_ends=frame_ends,
        action_ends=action_ends,
        gripper_pose=np.concatenate([rows[:, None] * [0.01, 0.02, 0.03], turns], axis=1).astype(np.float32),
        gripper_open=(rows % 2).astype(np.float32),
        joint_positions=np.tile(rows[:, None], (1, 7)),
        task_low_dim_state=np.tile(rows[:, None], (1, 3 + number)),
        action=np.tile(np.arange(actions, dtype=np.float32)[:, None] / 100, (1, 7)),
        expert_action=np.tile(np.arange(actions, dtype=np.float32)[:, None] / 50, (1, 7)),
        reward=np.eye(actions, dtype=np.float32)[action_ends[0] - 1],
        success=np.arange(actions) == action_ends[0] - 1,
        seed=1000 + np.arange(4),
        kind=np.array(["clean", "noise0.3", "noise0.6", "clean"]),
        split=np.array(["train", "train", "train", "test"]),
        descriptions=np.array([json.dumps([f"{task}, variation {n}", task]) for n in range(4)]),
        reset_state_difference=np.array([0, 0, difference, 0], np.float32),
        episode_success=np.array([True, True, True, False]),
    )
    np.savez_compressed(folder / f"{task}.npz", **{**arrays, **more})
    for place, camera in enumerate(cameras):
        levels = [grey(number, frame) + 20 * place for frame in range(frames)]
        write_greys(folder / f"{task}_{camera}.mp4", levels, (SIZE, SIZE))
