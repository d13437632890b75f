"""Recorded RLBench episodes become the same arrays, and the same datasets, as collected ones."""

import minari
import numpy as np
import pytest
from recordings import LENGTHS, SIZE, grey, write_recording
from scipy.spatial.transform import Rotation

from sfvgen_plan.data.episodes import load_episodes, read_metadata
from sfvgen_plan.data.rlbench import convert
from sfvgen_plan.data.rlbench_state import STATE_SIZE, estimates_of, pack_state
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    write_recording(folder, "close_box", 0, difference=0.5)
    write_recording(folder, "take_lid_off_saucepan", 1, difference=0.5, cameras=("front", "wrist"))
    return folder


@pytest.fixture(scope="module")
def converted(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "set"
    assert convert([recordings], out, camera="front") == 6
    return out


def test_the_training_split_is_a_dataset_that_minari_reads(converted):
    episodes = load_episodes(converted)
    assert episodes.tasks == ["rlbench/close_box", "rlbench/take_lid_off_saucepan"]
    assert episodes.instructions == ["close box", "take lid off saucepan"]
    told = [f"{task}, variation {n}" for task in ("close_box", "take_lid_off_saucepan") for n in range(3)]
    assert episodes.descriptions.tolist() == told
    assert [episodes.sub_goals[n] for n in episodes.sub_goal[episodes.action_start]] == told
    assert episodes.lengths.tolist() == [3, 5, 2, 3, 5, 2]
    assert episodes.task.tolist() == [0, 0, 0, 1, 1, 1]
    assert episodes.kind.tolist() == 2 * ["clean", "noise0.3", "noise0.6"]
    assert episodes.actions.shape == (20, 7)
    assert (episodes.camera, episodes.size, episodes.repeat) == ("front", SIZE, 1)
    assert "non-commercial" in read_metadata(converted)["collection"]["source"]["licence"]
    first = minari.MinariDataset(converted)[0]
    assert first.actions.shape == (3, 7)
    assert first.observations["state"].shape == (4, STATE_SIZE)


def test_frames_and_numbers_of_a_moment_belong_together(converted):
    episodes = load_episodes(converted)
    places = np.rint(episodes.state[:, 8]).astype(int)  # the first joint tells the row of the file
    tasks = np.repeat(episodes.task, episodes.lengths + 1)
    expected = [grey(task, place) for task, place in zip(tasks, places, strict=True)]
    np.testing.assert_allclose(episodes.frames.mean((1, 2, 3)), expected, atol=2)
    for e, start in enumerate(episodes.episode_start):
        steps = slice(episodes.action_start[e], episodes.action_start[e] + episodes.lengths[e])
        first = episodes.actions[steps][0, 0] * 100  # row of the file, without the frames that lead nowhere
        earlier = [length for length in LENGTHS if sum(LENGTHS[: LENGTHS.index(length) + 1]) <= first + 0.5]
        assert round(float(first)) + len(earlier) == places[start]
    # The third episode of close_box is another scene than its expert solved; the lid's order of objects means nothing.
    advised = np.delete(np.arange(20), [8, 9])
    assert np.isnan(episodes.expert_actions[8:10]).all()
    np.testing.assert_allclose(episodes.expert_actions[advised], 2 * episodes.actions[advised], rtol=1e-6)
    assert np.flatnonzero(episodes.success).tolist() == [2, 12]


def test_pictures_of_both_cameras_lie_one_above_the_other(recordings, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    write_recording(more, "close_box", 0)
    assert convert([recordings, more], tmp_path / "set") == 9
    episodes = load_episodes(tmp_path / "set")
    assert episodes.camera == "front+wrist"
    assert episodes.lengths.tolist() == [3, 5, 2, 3, 5, 2, 3, 5, 2], "several folders are one dataset"
    assert episodes.frames.shape[1:] == (2 * SIZE, SIZE, 3)
    front, wrist = (half.mean((1, 2, 3)) for half in np.split(episodes.frames, 2, axis=1))
    task = np.repeat(episodes.task, episodes.lengths + 1)
    np.testing.assert_allclose(wrist[task == 1], front[task == 1] + 20, atol=2)
    assert not wrist[task == 0].any()  # which nobody filmed


def test_advice_that_is_no_solution_is_left_out(tmp_path):
    """Of episodes of 3, 5, 2 and 4 decisions, whose things move in the second, third, never and at once."""
    places = np.concatenate([[0, 0, 1, 1], [0, 0, 0, 1, 1, 0], [0, 0, 0], [0, 1, 1, 1, 1]])
    moved = np.stack([places, np.resize([1, -1], len(places))], 1).astype(np.float32)
    told = {"episode_success": [False, True, False, True], "split": ["train"] * 4}
    told |= {"kind": ["clean", "recover", "random", "recover"]}
    told |= {"recover_noise_start": [-1, 0, -1, 1], "recover_replan": [-1, 4, -1, 3]}
    arrays = {name: np.array(values) for name, values in told.items()}
    write_recording(tmp_path, "close_box", 0, task_low_dim_state=moved, **arrays)
    convert([tmp_path], tmp_path / "set")
    advised = np.isfinite(load_episodes(tmp_path / "set").expert_actions).all(1)
    assert advised.astype(int).tolist() == [*[1, 1, 0], *[1, 1, 1, 0, 1], *[1, 1], *[1, 0, 0, 1]]


def test_what_there_is_not_and_damaged_files_are_named_and_leave_nothing(recordings, tmp_path):
    out = tmp_path / "sets" / "set"
    for arguments, message in (
        ({"tasks": ["close_bax"]}, "did you mean close_box"),
        ({"split": "tset"}, "did you mean test"),
        ({"camera": "wrist"}, "was not recorded for close_box; it has front"),
    ):
        with pytest.raises(UserError, match=message):
            convert([recordings], out, **arguments)
    for file in recordings.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -2000 if file.name == "close_box_front.mp4" else None])
    with pytest.raises(UserError, match=r"close_box_front\.mp4"):
        convert([tmp_path], out, tasks=["close_box"])
    (tmp_path / "close_box.npz").write_bytes(b"PK nonsense")
    with pytest.raises(UserError, match=r"close_box\.npz' is damaged"):
        convert([tmp_path], out, tasks=["close_box"])
    with pytest.raises(UserError, match="no RLBench recordings"):
        convert([tmp_path / "nothing"], out)
    assert not out.exists()


def test_collect_converts_and_refuses_to_overwrite(recordings, tmp_path, said, refused):
    out = str(tmp_path / "set")
    command = ("collect", "--from", str(recordings), "--out", out, "--split", "test")
    tasks = ["rlbench/close_box", "rlbench/take_lid_off_saucepan"]
    assert said(*command) == {"out": out, "tasks": tasks, "episodes": 2, "decisions": 8}
    assert "is there already" in refused(*command)


def test_the_state_is_padded_cut_and_read_out():
    turn = Rotation.from_euler("xyz", [0.3, -0.5, 1.1])
    pose = np.array([0.1, 0.2, 0.3, *turn.as_quat()])
    state = pack_state(pose, np.float64(1.0), np.arange(7.0), np.arange(200.0))
    assert state.shape == (STATE_SIZE,)
    assert state[-1] == 127
    expected = [0.1, 0.2, 0.3, 1.0, *turn.as_matrix()[:, 0], *turn.as_matrix()[:, 1], 0.0, 1.0, 2.0]
    np.testing.assert_allclose(estimates_of(state), expected, rtol=1e-5)
    assert pack_state(pose, np.float64(0), np.zeros(7), np.zeros(0))[15:].tolist() == [0.0] * 128
