"""The expert that is told read-outs, in the real simulator with a small untrained model."""

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.behaviour import expert_of
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.envs.sawyer import LAYOUT
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.model.transformer import VideoTransformer

OFF = torch.tensor([0.0, 0, 0, 0, 0.03, 0, 0, 0, -0.05, 0])  # metres: object_x and goal_y


@pytest.fixture
def env(monkeypatch):
    """A scene whose read-outs a model has right but for ``OFF``."""
    env, read = MetaworldEnv("push-v3", size=32), VideoTransformer.read

    def reads(network, features):
        config, seen = network.config, torch.from_numpy(env.estimates) + OFF
        mean, std = torch.tensor(config.estimate_mean), torch.tensor(config.estimate_std)
        said = read(network, features)
        return said._replace(estimates=((seen - mean) / std).expand_as(said.estimates))

    monkeypatch.setattr(VideoTransformer, "read", reads)
    env.reset(seed=3)
    yield env
    env.close()


@pytest.mark.parametrize(("thing", "goal"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_expert_believes_what_is_read_of_the_parts_that_are_asked_for(env, make_checkpoint, thing, goal):
    checkpoint = load_checkpoint(make_checkpoint({"push-v3": "push the puck"}, 0.2))
    agent = make_agent("reader", checkpoint, settings={"object": thing, "goal": goal})
    agent.reset("push-v3", 3)
    error = np.zeros(39)
    error[LAYOUT.object.start] = error[LAYOUT.half :][LAYOUT.object.start] = 0.03 * thing
    error[LAYOUT.goal.start + 1] = -0.05 * goal
    expert = expert_of("push-v3")
    for _ in range(3):
        before, action = env.state, agent.act(env)
        np.testing.assert_array_equal(env.state, before)
        np.testing.assert_allclose(action, expert.act_misled(env, error), atol=1e-4)
        env.step(action)
    assert agent.stats().plan_seconds > 0


def test_tasks_whose_expert_goes_by_more_than_the_state_are_refused(make_checkpoint):
    checkpoint = load_checkpoint(make_checkpoint({"memory/return": "put things back"}, 0.2))
    with pytest.raises(UserError, match=r"task='memory/return': its expert can't be told another state"):
        make_agent("reader", checkpoint).reset("memory/return", 0)
