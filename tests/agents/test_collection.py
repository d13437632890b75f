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

from sfvgen_plan.agents.collection import CollectionSettings, collect, staged_path
from sfvgen_plan.agents.workers import run_workers
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError

TASKS = ("reach-v3", "push-v3")
EPISODES, DECISIONS = 4, 6
SMALL = {"decisions": DECISIONS, "size": 32}


def same(first, second):
    """Whether two datasets are equal bit for bit."""
    first, second = load_episodes(first), load_episodes(second)
    return all(np.array_equal(getattr(first, field.name), getattr(second, field.name)) for field in fields(first))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Two tasks, four episodes each, collected in one go by one worker."""
    return collect(tmp_path_factory.mktemp("data") / "reference", TASKS, EPISODES, workers=1, **SMALL)


def test_what_is_collected(reference):
    arrays = load_episodes(reference)
    assert arrays.tasks == list(TASKS)
    assert arrays.instructions[1] == "push the puck to the green goal position"
    assert arrays.task.tolist() == [0] * EPISODES + [1] * EPISODES
    assert arrays.seed.tolist() == 2 * list(range(100_000, 100_000 + EPISODES))
    assert (arrays.lengths == DECISIONS).all()
    assert arrays.frames.shape == (2 * EPISODES * (DECISIONS + 1), 32, 32, 3)
    assert (arrays.camera, arrays.size, arrays.repeat) == ("corner4", 32, 5)
    clean = np.repeat(arrays.kind == "clean", DECISIONS)
    assert np.array_equal(arrays.actions[clean], arrays.expert_actions[clean])
    assert not np.array_equal(arrays.actions[~clean], arrays.expert_actions[~clean])
    assert not reference.with_name("reference.partial").exists()


def test_data_agrees_with_the_environment(reference):
    """Replaying the stored actions gives the stored frames, states and rewards."""
    from sfvgen_plan.envs.metaworld.env import MetaworldEnv

    arrays = load_episodes(reference, tasks=["push-v3"])
    env = MetaworldEnv("push-v3", size=32)
    frame, info = env.reset(seed=int(arrays.seed[1]))
    f, a = arrays.episode_start[1], arrays.action_start[1]
    for t in range(DECISIONS):
        assert np.array_equal(arrays.frames[f + t], frame)
        assert np.array_equal(arrays.estimates[f + t], info["estimates"])
        frame, reward, _, _, info = env.step(arrays.actions[a + t])
        assert arrays.reward[a + t] == np.float32(reward)
        assert arrays.success[a + t] == info["success"]
    env.close()


def test_workers_do_not_change_the_data(reference, tmp_path):
    assert same(reference, collect(tmp_path / "set", TASKS, EPISODES, workers=3, **SMALL))


def test_a_finished_dataset_is_left_alone(reference):
    before = (reference / "main_data.hdf5").stat().st_mtime_ns
    episodes = []
    collect(reference, TASKS, EPISODES, on_episode=lambda: episodes.append(1), **SMALL)
    assert (reference / "main_data.hdf5").stat().st_mtime_ns == before
    assert len(episodes) == len(TASKS) * EPISODES


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_and_resumed(reference, tmp_path, sign):
    out = tmp_path / "set"
    arguments = ["--task", TASKS[0], "--task", TASKS[1], "--out", str(out), "--workers", "2", "--quiet"]
    arguments += ["--episodes", str(EPISODES), "--decisions", str(DECISIONS), "--size", "32"]
    code = "import sys; from sfvgen_plan.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, "collect", *arguments], stderr=subprocess.PIPE, text=True)
    staging = tmp_path / "set.partial"
    deadline = time.monotonic() + 120
    while len(list(staging.glob("*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[sign]
    assert "Traceback" not in errors
    assert not out.exists()
    assert len(list(staging.glob("*.npz"))) >= 2

    played = []
    collect(out, TASKS, EPISODES, workers=1, on_episode=lambda: played.append(1), **SMALL)
    assert len(played) == 8
    assert same(reference, out)
    assert not staging.exists()


def test_killed_while_the_dataset_is_written(reference, tmp_path, monkeypatch):
    import sfvgen_plan.data.minari_writer as writer

    def killed(folder, *rest):
        folder.mkdir()
        (folder / "main_data.hdf5").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_dataset", killed)
        with pytest.raises(KeyboardInterrupt):
            collect(tmp_path / "set", TASKS, EPISODES, workers=2, **SMALL)
    assert not (tmp_path / "set").exists()
    start = time.monotonic()
    assert same(reference, collect(tmp_path / "set", TASKS, EPISODES, **SMALL))
    assert time.monotonic() - start < 5, "episodes were played again"


def test_a_killed_worker_is_reported_and_nothing_is_lost(tmp_path):
    settings = CollectionSettings(("reach-v3",), 40, 40, size=32)
    plan = [("reach-v3", number) for number in range(40)]

    def kill_a_worker():
        multiprocessing.active_children()[0].kill()

    with pytest.raises(RuntimeError, match="killed"):
        run_workers(settings, tmp_path, plan, 2, kill_a_worker)
    assert any(staged_path(tmp_path, task, number).exists() for task, number in plan)


def test_a_damaged_episode_is_played_again(reference, tmp_path, caplog):
    out = tmp_path / "set"

    def stop():
        if len(list(out.with_name("set.partial").glob("*.npz"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(out, TASKS, EPISODES, workers=1, on_episode=stop, **SMALL)
    whole, flipped = sorted(out.with_name("set.partial").glob("*.npz"))[:2]
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0xFF  # the list of contents at the file's end is as it was
    flipped.write_bytes(content)
    whole.write_bytes(whole.read_bytes()[:1000])
    collect(out, TASKS, EPISODES, workers=1, **SMALL)
    assert same(reference, out)
    assert all(f"{file.name}' can't be read" in caplog.text for file in (whole, flipped))


@pytest.mark.parametrize("note", [json.dumps(CollectionSettings(TASKS, 9).as_dict()), "{"])
def test_what_was_begun_without_a_finished_episode_is_replaced(tmp_path, note):
    staging = tmp_path / "set.partial"
    staging.mkdir()
    (staging / "settings.json").write_text(note)
    (staging / "reach-v3.000000.npz.123.tmp").touch()
    collect(tmp_path / "set", TASKS[:1], 1, workers=1, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_without_a_finished_episode_other_files_stay(tmp_path):
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="corner9"):
        collect(tmp_path / "set", TASKS[:1], 1, camera="corner9", workers=1)
    assert [path.name for path in (tmp_path / "set.partial").iterdir()] == ["notes.txt"]


def test_a_worker_that_was_left_behind_writes_nothing_into_another_collection(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(CollectionSettings(TASKS, 9).as_dict()))
    run_workers(CollectionSettings(TASKS, 1, **SMALL), tmp_path, [(TASKS[0], 0)], 1, lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"tasks": ["reech-v3"]}, "reach-v3"),
            ({"tasks": []}, "tasks"),
            ({"episodes_per_task": 0}, "episodes=0"),
            ({"decisions": 0}, "decisions=0"),
            ({"seed": 99_999}, "seed=99999.*100000"),
            ({"workers": 0}, "workers=0"),
        ],
    )
    def test_refused_before_anything_is_written(self, tmp_path, arguments, message):
        with pytest.raises(UserError, match=message):
            collect(**{"out": tmp_path / "set", "tasks": TASKS, "episodes_per_task": 1, **arguments})
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("task", ["reach-v3", "memory/return"])
    def test_a_refused_camera_leaves_nothing_that_the_corrected_command_would_trip_over(self, tmp_path, task):
        with pytest.raises(UserError, match="corner9"):
            collect(tmp_path / "set", [task], 1, camera="corner9", workers=1)
        assert not list(tmp_path.iterdir())

    def test_finished_with_other_settings(self, reference):
        with pytest.raises(UserError, match=r"decisions=6.*decisions=7"):
            collect(reference, TASKS, EPISODES, **{**SMALL, "decisions": 7})

    def test_begun_with_other_settings(self, tmp_path):
        (tmp_path / "set.partial").mkdir()
        begun = CollectionSettings(TASKS, 3).as_dict()
        (tmp_path / "set.partial" / "settings.json").write_text(json.dumps(begun))
        (tmp_path / "set.partial" / "reach-v3.000000.npz").touch()
        with pytest.raises(UserError, match=r"episodes=3.*episodes=4"):
            collect(tmp_path / "set", TASKS, 4)
        assert (tmp_path / "set.partial" / "reach-v3.000000.npz").exists()

    @pytest.mark.parametrize("text", ["{", "[1]", None])
    def test_nobody_knows_what_was_begun(self, tmp_path, text):
        staging = tmp_path / "set.partial"
        staging.mkdir()
        (staging / "reach-v3.000000.npz").touch()
        if text is not None:
            (staging / "settings.json").write_text(text)
        with pytest.raises(UserError, match=r"set\.partial' has no readable settings\.json \(.*delete it"):
            collect(tmp_path / "set", TASKS, 1)
        assert (staging / "reach-v3.000000.npz").exists()

    def test_something_else_is_there(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(UserError, match="not a dataset"):
            collect(tmp_path, TASKS, 1)
        with pytest.raises(UserError, match="is a file"):
            collect(tmp_path / "notes.txt", TASKS, 1)
        assert (tmp_path / "notes.txt").read_text() == "mine"


def test_workers_do_not_import_torch():
    code = (
        "import sys, sfvgen_plan.agents.workers, sfvgen_plan.agents.collection, sfvgen_plan.agents.expert\n"
        "import sfvgen_plan.agents.behaviour, sfvgen_plan.data.staging, sfvgen_plan.envs.metaworld.env as m\n"
        "m.MetaworldEnv('reach-v3', pixels=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
