"""The memory tasks from the command line: training data as long as its layouts say, which a model is trained on that
plays and imagines."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from sfvgen_plan.agents.sawyer_experts import MemoryExpert
from sfvgen_plan.benchmarks.running.collection import CollectionSettings, collect
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.envs.memory.family import OWN_CAMERA, TASKS, memory_env
from sfvgen_plan.envs.memory.revisit_task import MemoryRevisitEnv
from sfvgen_plan.envs.memory.sub_goals import sub_goals_of
from sfvgen_plan.model.checkpoint import load_checkpoint

EPISODES = 2
SMALL = {"size": 32, "camera": OWN_CAMERA, "repeat": 5}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """All tasks, two episodes each: a clean one and a disturbed one."""
    settings = CollectionSettings(tuple(TASKS), EPISODES, decisions=200, **SMALL)
    return collect(tmp_path_factory.mktemp("data") / "memory", settings, 1)


def test_the_tasks_share_a_dataset(dataset):
    arrays = load_episodes(dataset)
    assert arrays.tasks == list(TASKS)
    assert arrays.instructions == list(TASKS.values())
    assert (arrays.camera, arrays.size, arrays.repeat) == (OWN_CAMERA, 32, 5)
    assert set(arrays.kind) == {"clean", "noise0.3"}
    assert arrays.actions.shape[1:] == (4,) and arrays.state.shape[1:] == (39,) and arrays.estimates.shape[1:] == (10,)
    for e, (start, length) in enumerate(zip(arrays.action_start, arrays.lengths, strict=True)):
        decisions = slice(start, start + length)
        assert arrays.kind[e] != "clean" or arrays.success[decisions].any()
        schedule = sub_goals_of(arrays.tasks[arrays.task[e]], int(arrays.seed[e]))
        texts = [arrays.sub_goals[n] for n in arrays.sub_goal[decisions]]
        assert texts == [text for text, decisions in schedule for _ in range(decisions)]


def test_episodes_are_as_long_as_their_layouts_and_replaying_gives_the_stored_frames(dataset):
    arrays = load_episodes(dataset)
    for e in range(1, len(TASKS) * EPISODES, EPISODES):  # the disturbed ones
        task, seed = arrays.tasks[arrays.task[e]], int(arrays.seed[e])
        longer = memory_env(task, repeat=8, pixels=False)
        longer.reset(seed=seed)
        assert longer.length == sum(decisions for _, decisions in sub_goals_of(task, seed, 8))
        env = memory_env(task, size=32)
        frame, info = env.reset(seed=seed)
        assert arrays.lengths[e] == env.length
        f, a = arrays.episode_start[e], arrays.action_start[e]
        for t in range(12):
            assert np.array_equal(arrays.frames[f + t], frame)
            assert np.array_equal(arrays.estimates[f + t], info["estimates"])
            frame, reward, _, _, info = env.step(arrays.actions[a + t])
            assert arrays.reward[a + t] == np.float32(reward)
        env.close()


@pytest.mark.usefixtures("own_folder")
def test_training_takes_the_data_as_it_is_and_episodes_are_played_and_imagined_to_their_ends(dataset, said):
    said("train", "--data", str(dataset), "--out", "trained", "train=tiny")
    checkpoint = load_checkpoint(Path("trained"))
    assert checkpoint.card.tasks == TASKS
    assert (checkpoint.camera, checkpoint.size, checkpoint.repeat) == (OWN_CAMERA, 32, 5)
    model = ("--checkpoint", "trained", "--device", "cpu")
    told = said("imagine", "--task", "memory/return", "--decisions", "3", *model, "sampler_steps=1")
    assert [span["last_decision"] for span in told["spans"]] == [3]
    for task, agent in (("memory/return", "expert"), ("memory/revisit", "random"), ("memory/cue", "expert")):
        told = said("eval", "--task", task, "--agent", agent, "--episodes", "1", "--seed", "23")
        (row,) = told["episodes"]
        env = memory_env(task, pixels=False)
        env.reset(seed=23)
        assert (told["protocol"], row["error"]) == ("memory", "")
        assert row["success_any"] == row["success_final"] == (agent == "expert")
        assert row["decisions"] <= env.length if agent == "expert" else row["decisions"] == env.length


def test_a_disturbed_camera_stays_near_its_path():
    """Without that, noisy paths would show no place twice."""
    env, expert = MemoryRevisitEnv(pixels=False), MemoryExpert()
    expert.reset(env.task, 0)
    random = np.random.default_rng(0)
    for seed in range(3):
        env.reset(seed=seed)
        astray = []
        for _ in range(env.length):
            env.step(np.clip(expert.act(env) + 0.3 * random.standard_normal(4), -1, 1))
            astray.append(np.linalg.norm(env.scene.carrier - env._planned(env.decisions)))
        assert np.mean(astray) < 0.03


def test_episodes_are_shorter_if_asked_and_each_task_has_its_camera(tmp_path):
    settings = CollectionSettings(("memory/revisit",), 1, decisions=5, **SMALL)
    arrays = load_episodes(collect(tmp_path / "set", settings, 1))
    assert arrays.lengths.tolist() == [5]
    for task, camera in (("memory/revisit", "carried"), ("memory/return", "side")):
        assert gym.make("sfvgen/Memory-v0", task=task, pixels=False).unwrapped.camera == camera
