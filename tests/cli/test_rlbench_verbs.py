"""RLBench's tasks from the command line, against the stand-in: experts, planners and policies play, and it is imagined
what an expert does."""

import gymnasium as gym
import imageio.v2 as imageio
import numpy as np
import pytest
from stable_baselines3 import PPO

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.episode import Awaiting, Ended, Job, Player
from sfvgen_plan.benchmarks.running.side_by_side import REST
from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES

TASK = "rlbench/reach_target"
SLIM = {"net_arch": [8], "features_extractor_kwargs": {"features_dim": 8}}

pytestmark = pytest.mark.usefixtures("fake_rlbench", "own_folder")


@pytest.fixture(scope="module")
def model(make_checkpoint):
    """Options of a checkpoint for actions of seven numbers."""
    facts = {"camera": "front+wrist", "repeat": 1, "action_dim": 7, "readouts": list(ESTIMATE_NAMES)}
    return "--checkpoint", str(make_checkpoint({TASK: "reach target"}, size=128, **facts)), "--device", "cpu"


@pytest.fixture
def evaluate(said):
    """Function that plays a task, and gives the rows of its episodes."""
    return lambda agent, *options, task=TASK: said("eval", "--task", task, "--agent", agent, *options)["episodes"]


def test_the_expert_follows_rlbenchs_own_solution(evaluate):
    rows = evaluate("expert", "--episodes", "2", "--lanes", "1", task="rlbench/pick_and_lift")
    assert [row["success_any"] for row in rows] == [True, True]


def test_the_planner_plays_a_task(evaluate, model):
    small = ("--episodes", "1", "--max-decisions", "2", "--lanes", "1", "agent.candidates=8", "agent.horizon=2")
    (episode,) = evaluate("default", *model, *small)
    assert (episode["decisions"], episode["error"], episode["denoiser_calls"] > 0) == (2, "", True)


def test_a_policy_that_sees_pixels_plays_a_task_if_it_has_its_actions(evaluate, refused):
    for numbers in (7, 4):
        env = gym.Env()
        env.observation_space = gym.spaces.Box(0, 255, (256, 128, 3), np.uint8)
        env.action_space = gym.spaces.Box(-1, 1, (numbers,), np.float32)
        PPO("CnnPolicy", env, n_steps=2, batch_size=2, device="cpu", policy_kwargs=SLIM).save(f"{numbers}.zip")
    (episode,) = evaluate("sb3:7.zip", "--episodes", "1", "--max-decisions", "2", "--device", "cpu")
    assert (episode["decisions"], episode["error"]) == (2, "")
    line = refused("eval", "--task", TASK, "--agent", "sb3:4.zip")
    assert "(4,)" in line and "(7,)" in line


def test_what_an_expert_does_is_imagined(model, said):
    options = ("--task", TASK, "--decisions", "3", "--out", "seen.mp4", *model, "sampler_steps=1")
    data = said("imagine", *options)
    assert (data["task"], len(data["spans"])) == (TASK, 1)
    assert 4 <= len(list(imageio.get_reader("seen.mp4").iter_data())) <= 4 + REST


def test_an_episode_that_the_task_itself_ends_is_over(fake_rlbench):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", "step:2:lost")
    player = Player(load_protocol("rlbench-data"))
    still = np.zeros(7, np.float32)
    assert isinstance(player.start(Job(TASK, 0)), Awaiting)
    assert isinstance(player.act(still), Awaiting)
    ended = player.act(still)
    player.close()
    assert isinstance(ended, Ended)
    assert (ended.decisions, ended.first_success, ended.error) == (2, None, "")


def test_a_dead_simulator_is_a_row_and_the_evaluation_goes_on(fake_rlbench, evaluate):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", "step:6:abort")
    errors = [row["error"] for row in evaluate("random", "--episodes", "4", "--max-decisions", "4", "--lanes", "1")]
    assert [bool(error) for error in errors] == [False, True, False, True]
    assert "exit code 134" in errors[1]
