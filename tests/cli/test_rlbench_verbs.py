"""RLBench's tasks with a checkpoint of theirs, against the stand-in: the verbs that play and imagine."""

import json

import gymnasium as gym
import imageio.v2 as imageio
import numpy as np
import pytest
from stable_baselines3 import PPO

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.running.side_by_side import REST
from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES

TASK = "rlbench/reach_target"
SLIM = {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}

pytestmark = pytest.mark.usefixtures("fake_rlbench")


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint):
    """For actions of seven numbers."""
    facts = {"camera": "front+wrist", "repeat": 1, "action_dim": 7, "readouts": list(ESTIMATE_NAMES)}
    return make_checkpoint({TASK: "reach target"}, size=128, **facts)


def test_the_planner_plays_a_task(checkpoint, tmp_path, capsys):
    command = ["eval", "--task", TASK, "--agent", "default", "--checkpoint", str(checkpoint), "--device", "cpu"]
    rules = ["--episodes", "1", "--max-decisions", "2", "--lanes", "1", "--out", str(tmp_path / "run"), "--json"]
    small = ["agent.candidates=8", "agent.horizon=2"]
    assert cli.main([*command, *rules, *small]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert episode["decisions"] == 2
    assert not episode["error"]
    assert episode["denoiser_calls"] > 0


def play(capsys, folder, agent):
    options = ["--episodes", "1", "--max-decisions", "2", "--device", "cpu", "--out", str(folder / "run"), "--json"]
    assert cli.main(["eval", "--task", TASK, "--agent", agent, *options]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    return episode


def test_a_policy_that_sees_pixels_plays_a_task_if_it_has_its_actions(tmp_path, capsys):
    for numbers in (7, 4):
        env = gym.Env()
        env.observation_space = gym.spaces.Box(0, 255, (256, 128, 3), np.uint8)
        env.action_space = gym.spaces.Box(-1, 1, (numbers,), np.float32)
        PPO("CnnPolicy", env, n_steps=2, batch_size=2, device="cpu", policy_kwargs=SLIM).save(
            tmp_path / f"{numbers}.zip"
        )
    episode = play(capsys, tmp_path, f"sb3:{tmp_path / '7.zip'}")
    assert (episode["decisions"], episode["error"]) == (2, "")
    assert cli.main(["eval", "--task", TASK, "--agent", f"sb3:{tmp_path / '4.zip'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "(4,)" in line and "(7,)" in line


def test_what_an_expert_does_is_imagined(checkpoint, tmp_path, capsys):
    video = tmp_path / "seen.mp4"
    options = ["--checkpoint", str(checkpoint), "--device", "cpu", "sampler_steps=1", "--json"]
    assert cli.main(["imagine", "--task", TASK, "--decisions", "3", "--out", str(video), *options]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["task"], len(data["spans"])) == (TASK, 1)
    assert 4 <= len(list(imageio.get_reader(video).iter_data())) <= 4 + REST
