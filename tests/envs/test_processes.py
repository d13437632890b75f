"""Gymnasium's vector environments of processes: the same episodes as side by side, and no child that hangs."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

TASKS = {
    "sfvgen/Metaworld-v0": "push-v3",
    "sfvgen/Memory-v0": "memory/return",
    "sfvgen/RLBench-v0": "rlbench/reach_target",
    "sfvgen/Gym-v0": "gym:dot_env:Dot-v0",
    "sfvgen/Imagined-v0": "reach-v3",
}


@pytest.fixture
def settings(small_checkpoint, monkeypatch, fake_rlbench):
    """By id, what makes an environment small. Those that draw with OpenGL are not drawn in forked processes."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    real = {"size": 16, "pixels": False, "max_decisions": 3}
    return {**dict.fromkeys(TASKS, real), "sfvgen/Imagined-v0": {"checkpoint": small_checkpoint, "max_decisions": 3}}


def test_all_that_are_registered_are_here():
    known = {*TASKS, "sfvgen/Goals-v0"}  # which is Metaworld's with other rewards
    assert known == {name for name in gym.registry if name.startswith("sfvgen/")}


@pytest.mark.parametrize("env_id", TASKS)
def test_processes_play_the_same_episodes_as_one(env_id, settings):
    played = []
    for mode in ("sync", "async"):
        envs = gym.make_vec(env_id, 2, task=TASKS[env_id], vectorization_mode=mode, **settings[env_id])
        envs.action_space.seed(0)
        seen = [envs.reset(seed=7)]
        seen += [envs.step(envs.action_space.sample()) for _ in range(6)]  # past the ends
        envs.close()
        played.append(seen)
    assert any(step[3].any() for step in played[0][1:])
    for side, apart in zip(*played, strict=True):
        for one, other in zip(side[:-1], apart[:-1], strict=True):
            np.testing.assert_array_equal(one, other)
        assert side[-1].keys() == apart[-1].keys()
        for name in ("estimates", "success"):
            np.testing.assert_array_equal(side[-1][name], apart[-1][name])


def test_a_forked_child_imagines_although_the_threads_of_its_parent_are_gone(settings):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)

    def first():
        env = gym.make("sfvgen/Imagined-v0", task="reach-v3", **settings["sfvgen/Imagined-v0"])
        return env.reset(seed=7)[0].astype(int)

    def same():
        assert np.abs(first() - frame).max() <= 1

    frame, child = first(), multiprocessing.get_context("fork").Process(target=same)
    try:
        child.start()
        child.join(timeout=60)
        assert child.exitcode == 0
    finally:
        child.kill()
        torch.set_num_threads(threads)


def test_a_forked_child_draws_or_says_how_it_would():
    code = """
import gymnasium as gym, sfvgen_plan.envs
if __name__ == "__main__":
    metaworld = "sfvgen/Metaworld-v0", {"task": "reach-v3", "size": 16}
    reacher = "sfvgen/Gym-v0", {"task": "gym:Reacher-v5", "size": 16}

    def other(env, context):
        envs = gym.make_vec(env[0], 2, vectorization_mode="async", vector_kwargs={"context": context}, **env[1])
        try:
            print(env[0], context, envs.reset(seed=0)[0].std() > 0)
        except Exception as error:
            print(env[0], context, type(error).__name__, "'context': 'spawn'" in str(error))
        envs.close(terminate=True)

    other(metaworld, "fork")
    here = gym.make(reacher[0], **reacher[1])
    here.reset(seed=0)
    other(reacher, "fork")
    other(reacher, "spawn")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert done.stdout.splitlines() == [
        "sfvgen/Metaworld-v0 fork True",
        "sfvgen/Gym-v0 fork UserError True",
        "sfvgen/Gym-v0 spawn True",
    ], done.stderr
    assert "Exception ignored" not in done.stderr
