"""LeRobot datasets of both layouts become the same episodes, and what is made of them can be trained on."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from recordings import write_greys

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.lerobot import convert
from sfvgen_plan.errors import UserError

pa = pytest.importorskip("pyarrow", reason="needs pip install '.[lerobot]'")
import pyarrow.parquet as pq  # noqa: E402

FPS, LENGTHS, TEXTS = 10, (5, 4, 9, 2), ("lift the cube", "lift the cube", "open a drawer", "open a drawer")
ENDS = np.cumsum(LENGTHS)
TOP = "observation.images.top"


def grey(row):
    """Of the frame in that row of the dataset, far enough from its neighbours to survive compression."""
    return 40 + 8 * row


def write_video(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_greys(path, [grey(row) for row in rows], (48, 32), FPS)


def table(episode, rows):
    """Every number tells its row."""
    columns = {
        "action": [[float(row), -10.0 * row] for row in rows],
        "observation.state": [[float(row), 1.0, 2.0] for row in rows],
        "next.reward": [float(row) for row in rows],
        "next.success": [row == rows[-1] and episode != 1 for row in rows],
        "episode_index": [episode] * len(rows),
    }
    return pa.table(columns)


def write_table(path, *tables):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for part in tables:
            writer.write_table(part)


def write_dataset(folder, version):
    """Four episodes of two tasks. v2.1 has a file for each; v3 has all numbers in one, frames in two."""
    bounds = [range(start, end) for start, end in pairwise([0, *ENDS.tolist()])]
    tables = [table(episode, rows) for episode, rows in enumerate(bounds)]
    shapes = {"action": (2,), "observation.state": (3,), "next.reward": (1,), "next.success": (1,)}
    features: dict[str, Any] = {name: {"dtype": "float32", "shape": shape} for name, shape in shapes.items()}
    features |= {TOP: {"dtype": "video", "shape": (32, 48, 3)}}
    info = {"codebase_version": version, "fps": FPS, "chunks_size": 1000, "splits": {"train": "0:4"}}
    info |= {"features": features}
    known = [{"episode_index": n, "tasks": [TEXTS[n]], "length": LENGTHS[n]} for n in range(4)]
    meta = folder / "meta"
    meta.mkdir(parents=True)
    if version == "v2.1":
        info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        for n, rows in enumerate(bounds):
            write_table(folder / f"data/chunk-000/episode_{n:06d}.parquet", tables[n])
            write_video(folder / f"videos/chunk-000/{TOP}/episode_{n:06d}.mp4", rows)
        (meta / "episodes.jsonl").write_text("".join(json.dumps(episode) + "\n" for episode in known))
    else:
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        write_table(folder / "data/chunk-000/file-000.parquet", *tables)
        for file, rows in enumerate((range(0, 9), range(9, 20))):
            write_video(folder / f"videos/{TOP}/chunk-000/file-{file:03d}.mp4", rows)
        for n, (file, start) in enumerate(((0, 0), (0, 5), (1, 0), (1, 9))):
            at = {"chunk_index": 0, "file_index": file, "from_timestamp": start / FPS}
            known[n] |= {f"videos/{TOP}/{name}": value for name, value in at.items()}
            known[n] |= {"data/chunk_index": 0, "data/file_index": 0, "stats/action/min": [0.0, 0.0]}
        write_table(meta / "episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(known))
    (meta / "info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture(scope="module", params=["v2.1", "v3.0"])
def recorded(request, tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp(request.param) / "set", request.param)


def test_frames_and_numbers_of_a_row_belong_together(recorded, tmp_path):
    assert convert(recorded, tmp_path / "set", size=16) == 4
    episodes = load_episodes(tmp_path / "set")
    assert episodes.tasks == ["lerobot/lift the cube", "lerobot/open a drawer"]
    assert episodes.instructions == ["lift the cube", "open a drawer"]
    assert episodes.lengths.tolist() == [length - 1 for length in LENGTHS] and episodes.size == 16
    rows = episodes.state[:, 0]
    assert rows.tolist() == list(range(20))
    np.testing.assert_allclose(episodes.frames.mean((1, 2, 3)), 40 + 8 * rows, atol=2)
    starting = np.delete(rows, ENDS - 1)  # rows whose action led to another
    np.testing.assert_allclose(episodes.actions[:, 0], 2 * starting / 19 - 1, atol=1e-6)
    np.testing.assert_allclose(episodes.actions[:, 1], -episodes.actions[:, 0], atol=1e-6)
    assert (episodes.expert_actions == episodes.actions).all() and set(episodes.kind) == {"clean"}
    assert episodes.source.actions == {"low": [0, -190], "high": [19, 0], "dtype": "float32"}
    ends = episodes.action_start + episodes.lengths - 1
    assert np.flatnonzero(episodes.success).tolist() == ends[[0, 2, 3]].tolist()
    added = [row + (row + 1 in ENDS - 1) * (row + 1) for row in starting.astype(int)]
    assert episodes.reward.tolist() == added  # what was earned in a last row counts for the decision before


def test_a_decision_can_last_several_rows(recorded, tmp_path):
    assert convert(recorded, tmp_path / "set", ["open a drawer"], size=16, repeat=3) == 1  # the other is too short
    episodes = load_episodes(tmp_path / "set")
    assert (episodes.tasks, episodes.repeat, episodes.lengths.tolist()) == (["lerobot/open a drawer"], 3, [2])
    np.testing.assert_allclose(episodes.frames.mean((1, 2, 3)), [grey(row) for row in (9, 12, 15)], atol=2)
    assert episodes.state[:, 0].tolist() == [9, 12, 15]
    np.testing.assert_allclose(episodes.actions[:, 0], 2 * np.array([10, 13]) / 19 - 1, atol=1e-6)
    assert episodes.reward.tolist() == [9 + 10 + 11, 12 + 13 + 14 + 15 + 16 + 17]
    assert episodes.success.tolist() == [False, True]


@pytest.mark.parametrize("recorded", ["v3.0"], indirect=True)
@pytest.mark.usefixtures("own_folder")
def test_what_was_collected_can_be_trained_on_and_imagined(recorded, said):
    told = said("collect", "--from", f"lerobot:{recorded}", "--out", "set", "--size", "32")
    assert told["tasks"] == ["lerobot/lift the cube", "lerobot/open a drawer"] and told["decisions"] == 16
    said("train", "--data", "set", "--out", "trained", "train=tiny", "train.video.learning.frames=4")
    import gymnasium as gym

    env = gym.make("sfvgen_plan:sfvgen/Imagined-v0", task="lerobot/open a drawer", checkpoint="trained")
    frame, _ = env.reset(seed=0)
    assert frame.shape == (32, 32, 3) and env.unwrapped.instruction == "open a drawer"
    assert env.action_space == gym.spaces.Box(np.array([0, -190], np.float32), np.array([19, 0], np.float32))
    assert env.step(env.action_space.sample())[4]["estimates"].shape == (3,)


def test_what_there_is_not_is_named(recorded, tmp_path):
    for arguments, message in (
        ({"tasks": ["open a drawr"]}, "did you mean lerobot/open a drawer"),
        ({"split": "val"}, "did you mean train"),
        ({"camera": "left"}, TOP),
        ({"repeat": 9}, "no episodes"),
        ({"size": 0}, "size=0"),
    ):
        with pytest.raises(UserError, match=message):
            convert(recorded, tmp_path / "set", **arguments)


def test_damaged_datasets_are_named_and_leave_nothing(tmp_path):
    folder, out = write_dataset(tmp_path / "v2", "v2.1"), tmp_path / "set"
    video = folder / f"videos/chunk-000/{TOP}/episode_000002.mp4"
    whole = video.read_bytes()
    for content in (whole[: len(whole) // 2], b"nonsense"):
        video.write_bytes(content)
        with pytest.raises(UserError, match="episode_000002"):
            convert(folder, out)
    video.write_bytes(whole)
    numbers = folder / "data/chunk-000/episode_000001.parquet"
    numbers.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="lacks rows of episode 1"):
        convert(folder, out)
    numbers.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="can't be read"):
        convert(folder, out)
    with pytest.raises(UserError, match="no LeRobot dataset"):
        convert(tmp_path, out)
    assert not out.exists()
