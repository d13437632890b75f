"""The oracle in the real simulator, without rendering."""

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.oracle import TrueSimulator
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.envs.metaworld.env import MetaworldEnv

FAST = {"candidates": 24, "elites": 4}


@pytest.fixture(scope="module")
def env():
    env = MetaworldEnv("reach-v3", size=8, pixels=False)
    yield env
    env.close()


@pytest.fixture(scope="module")
def simulator():
    return TrueSimulator("reach-v3")


def test_the_oracle_solves_reach(env):
    env.reset(seed=3)
    agent = make_agent("oracle", settings=FAST)
    agent.reset("reach-v3", 3)
    solved = False
    while not solved and env.decisions < 20:
        solved = env.step(agent.act(env))[4]["success"]
    assert solved
    assert agent.stats().imagined_decisions == env.decisions * 24 * 2 * 6
    assert agent.stats().plan_seconds > 0 and agent.stats().denoiser_calls == 0


def test_the_oracle_leaves_the_environment_as_it_was_and_repeats_itself(env):
    env.reset(seed=5)
    before = env.state

    def act():
        agent = make_agent("oracle", settings={**FAST, "candidates": 8})
        agent.reset("reach-v3", 5)
        return agent.act(env)

    action = act()
    np.testing.assert_array_equal(env.state, before)
    np.testing.assert_array_equal(action, act())
    snapshot = env.snapshot()
    after = env.step(action)[4]["state"]
    env.restore(snapshot)
    act()
    np.testing.assert_array_equal(env.step(action)[4]["state"], after)


def test_imagining_in_the_true_simulator_is_what_really_happens_and_forks_are_independent(env, simulator):
    env.reset(seed=7)
    actions = torch.tensor(np.random.default_rng(0).uniform(-1, 1, (1, 4, 4)), dtype=torch.float32)
    state = simulator.begin_at([env.snapshot()])
    final, outcome = simulator.imagine(state, actions)
    real = [env.step(action)[4] for action in actions[0].numpy()]
    estimates = np.stack([info["estimates"] for info in real])
    np.testing.assert_allclose(outcome.estimates[0].numpy(), estimates, atol=1e-4)
    _, again = simulator.imagine(final, actions)
    _, whole = simulator.imagine(state, torch.cat([actions, actions], dim=1))
    torch.testing.assert_close(again.estimates, whole.estimates[:, 4:])
    plans = torch.stack([torch.ones(3, 4), -torch.ones(3, 4)])
    forks = simulator.fork(state, 2)
    _, both = simulator.imagine(forks, plans)
    _, second = simulator.imagine(simulator.select(forks, [1]), plans[1:])
    torch.testing.assert_close(both.estimates[1:], second.estimates)
    assert (both.estimates[0] - both.estimates[1]).abs().max() > 0.05
