"""Collection: the same data whatever the number of workers, and whenever it was killed."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from dataclasses import fields

import numpy as np
import pytest

from sfvgen_plan.benchmarks.running import collection
from sfvgen_plan.benchmarks.running.collection import CollectionSettings, collect
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError

TASKS = ("toy/left", "toy/right")
EPISODES = 4
SMALL = {"decisions": 6, "size": 32, "camera": "top", "repeat": 1}

pytestmark = pytest.mark.usefixtures("toy")


def settings(tasks=TASKS, episodes=EPISODES, **changes):
    return CollectionSettings(tasks, episodes, **{**SMALL, **changes})


def same(first, second):
    """Whether two datasets are equal bit for bit."""
    first, second = load_episodes(first), load_episodes(second)
    return all(np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(first))


@pytest.fixture(scope="module")
def reference(toy, tmp_path_factory):
    """Two tasks, four episodes each, collected in one go by one worker."""
    return collect(tmp_path_factory.mktemp("data") / "reference", settings(), 1)


def test_what_is_collected_agrees_with_the_environment(tmp_path):
    """In Metaworld: replaying the stored actions gives the stored frames, states and rewards."""
    from sfvgen_plan.envs.metaworld.env import MetaworldEnv

    arrays = load_episodes(collect(tmp_path / "set", CollectionSettings(["reach-v3", "push-v3"], 3, 6, size=32), 1))
    assert arrays.tasks == ["reach-v3", "push-v3"]
    assert arrays.instructions[1] == "push the puck to the green goal position"
    assert arrays.task.tolist() == [0] * 3 + [1] * 3
    assert arrays.seed.tolist() == 2 * [100_000, 100_001, 100_002]
    assert arrays.lengths.tolist() == [6] * 6
    assert arrays.frames.shape == (6 * 7, 32, 32, 3)
    assert (arrays.camera, arrays.size, arrays.repeat) == ("corner4", 32, 5)
    clean = np.repeat(arrays.kind == "clean", 6)
    assert np.array_equal(arrays.actions[clean], arrays.expert_actions[clean])
    assert not np.array_equal(arrays.actions[~clean], arrays.expert_actions[~clean])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    env = MetaworldEnv("push-v3", size=32)
    frame, info = env.reset(seed=int(arrays.seed[4]))
    f, a = arrays.episode_start[4], arrays.action_start[4]
    for t in range(6):
        assert np.array_equal(arrays.frames[f + t], frame)
        assert np.array_equal(arrays.estimates[f + t], info["estimates"])
        frame, reward, _, _, info = env.step(arrays.actions[a + t])
        assert arrays.reward[a + t] == np.float32(reward)
        assert arrays.success[a + t] == info["success"]
    env.close()


def test_processes_do_not_change_the_data_even_if_one_is_killed(reference, tmp_path):
    killed = []

    def kill_one():
        if not killed:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    assert same(reference, collect(tmp_path / "set", settings(), 2, kill_one))
    assert killed and not multiprocessing.active_children()


def test_a_finished_dataset_is_left_alone(reference):
    before = (reference / "main_data.hdf5").stat().st_mtime_ns
    episodes = []
    collect(reference, settings(), on_episode=lambda: episodes.append(1))
    assert (reference / "main_data.hdf5").stat().st_mtime_ns == before
    assert len(episodes) == len(TASKS) * EPISODES


def test_killed_and_resumed(tmp_path):
    out, staging = tmp_path / "set", tmp_path / "set.partial"
    arguments = ["--suite", "toy", "--out", str(out), "--workers", "2", "--quiet", "--episodes", "40"]
    process = subprocess.Popen([sys.executable, "-m", "sfvgen_plan.cli", "collect", *arguments])
    deadline = time.monotonic() + 120
    while len(list(staging.glob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not out.exists()
    assert len(list(staging.glob("*.npz"))) >= 2
    told = []
    again = settings(episodes=40, decisions=12)
    collect(out, again, 1, lambda: told.append(1))
    assert len(told) == 80
    assert same(out, collect(tmp_path / "whole", again, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "whole"]


def test_killed_while_the_dataset_is_written(reference, tmp_path, monkeypatch):
    import sfvgen_plan.data.minari_writer as writer

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write_episodes", lambda path, *_: (path.write_bytes(b"half"), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            collect(tmp_path / "set", settings(), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["set.partial"]
    monkeypatch.setattr(collection, "keep", lambda *_: pytest.fail("an episode was played again"))
    assert same(reference, collect(tmp_path / "set", settings(), 1))


def begun(tmp_path):
    """The staging folder of a collection of nine episodes that was begun."""
    staging = tmp_path / "set.partial"
    staging.mkdir()
    (staging / "settings.json").write_text(json.dumps(settings(episodes=9).as_dict()))
    return staging


def test_what_was_begun_without_a_finished_episode_is_replaced(tmp_path):
    staging = begun(tmp_path)
    (staging / ".writing-left").mkdir()
    collect(tmp_path / "set", settings(TASKS[:1], 1), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("there", [True, False])
def test_a_process_that_was_left_behind_writes_nothing_into_another_collection(tmp_path, there):
    staging = begun(tmp_path) if there else tmp_path / "set.partial"
    collection.keep(settings(episodes=1), staging, None)
    assert not list(tmp_path.rglob("*.npz"))


class TestBadInput:
    @pytest.mark.parametrize("task", ["reach-v3", "memory/return"])
    def test_a_refused_camera_leaves_nothing_but_files_of_others(self, tmp_path, task):
        notes = tmp_path / "set.partial" / "notes.txt"
        notes.parent.mkdir()
        notes.touch()
        with pytest.raises(UserError, match="corner9"):
            collect(tmp_path / "set", CollectionSettings([task], 1, camera="corner9"), 1)
        assert list(tmp_path.rglob("*")) == [notes.parent, notes]

    def test_finished_or_begun_with_other_settings(self, reference, tmp_path):
        with pytest.raises(UserError, match=r"decisions=6, not decisions=7"):
            collect(reference, settings(decisions=7))
        episode = begun(tmp_path) / "toy-left.000000.npz"
        episode.touch()
        with pytest.raises(UserError, match=r"episodes=9, not episodes=4"):
            collect(tmp_path / "set", settings())
        assert episode.exists()

    def test_nothing_to_collect_and_something_else_is_there(self, tmp_path):
        for arguments, message in (({"tasks": []}, "tasks is empty"), ({"decisions": 0}, "decisions=0")):
            with pytest.raises(UserError, match=message):
                settings(**arguments)
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match="not a dataset"):
            collect(tmp_path, settings(episodes=1))
        with pytest.raises(UserError, match="is a file"):
            collect(tmp_path / "notes.txt", settings(episodes=1))
        assert (tmp_path / "notes.txt").read_text() == "mine"
