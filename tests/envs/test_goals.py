"""Goals of our own in Metaworld's scenes."""

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.oracle import TrueSimulator
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.agents.search import TaskObjective
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.envs.family import family_of, scene_of
from sfvgen_plan.envs.goals import GOALS, HOLD, GoalEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome

POINT = np.array([-0.2, 0.5, 0.3])


def towards(env):
    """The action that takes the hand to the point."""
    return np.append(np.clip(10 * (POINT - env.state[:3]), -1, 1), 0.0)


def test_a_goal_is_met_once_it_was_held_and_moments_remember_for_how_long():
    env = GoalEnv("goals/point", size=8, pixels=False)
    env.reset(seed=1)
    rewards, inside, solved = [], [], []
    for _ in range(20):
        _, reward, _, _, info = env.step(towards(env))
        rewards.append(reward)
        inside.append(np.linalg.norm(info["estimates"][:3] - POINT) < 0.04)
        solved.append(info["success"])
        if sum(inside) == HOLD - 1:
            before = env.snapshot()
    assert inside.index(True) == solved.index(True) - HOLD + 1
    assert rewards[-1] > 9 > rewards[0]
    env.restore(before)
    assert env.step(towards(env))[4]["success"]
    simulator = TrueSimulator("goals/point")
    _, outcome = simulator.imagine(simulator.begin_at([before]), torch.tensor(towards(env))[None, None].float())
    assert outcome.success.item() == 1
    env.reset(seed=1)
    assert not env.step(towards(env))[4]["success"]


@pytest.mark.parametrize(("task", "goal"), GOALS.items())
def test_planners_prefer_what_comes_near_to_the_goal(task, goal):
    near = torch.zeros(1, 2, 10)
    for name, value in goal.wanted.items():
        near[..., family_of(task).source.readouts.index(name)] = value
    nothing = torch.zeros(2, 2)
    outcome = Outcome(nothing, nothing, nothing, torch.cat([near, near + torch.linspace(0.1, 0.3, 10)]))
    at, away = TaskObjective()(task)(outcome).tolist()
    assert at > away
    gaps = goal.gap(near.numpy()).max(), goal.gap(outcome.estimates[1].numpy()).min()
    assert gaps[0] < goal.tolerance < gaps[1] or goal.from_goal


def test_a_checkpoint_that_knows_the_scene_plays_the_goal(small_checkpoint):
    protocol = load_protocol("own-goals")
    assert protocol.tasks == tuple(GOALS) and scene_of("goals/point") == "reach-v3" == scene_of("reach-v3")
    agent = make_agent("default", small_checkpoint, settings={"candidates": 4, "horizon": 2})
    agent.reset([0, 1], ["goals/point", "reach-v3"], [0, 0])
    assert agent.act([0, 1], np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 4)
    with pytest.raises(UserError, match="has no expert"):
        make_agent("expert").reset("goals/point", 0)
