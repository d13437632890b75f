"""Agents of other kinds, played through adapters, and agents that are made worse on purpose."""

import numpy as np
import pytest

from sfvgen_plan.agents.adapters import DisturbedAgent, LanesOfAgents, as_agent, check_actions
from sfvgen_plan.agents.base import Agent, BatchAgent, PlanCost, kind_of
from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.agents.lanes import RandomAgent
from sfvgen_plan.errors import UserError

FRAME = np.zeros((4, 4, 3), np.uint8)


class Counter:
    """Returns G decisions at a time, numbered through the episode."""

    def __init__(self, at_once=1):
        self.at_once, self.asked = at_once, 0

    def reset(self, task, seed):
        self.asked = 0

    def act(self, observation):
        start, self.asked = self.asked * self.at_once, self.asked + 1
        numbers = np.arange(start, start + self.at_once) / 100
        return np.repeat(numbers[:, None], 4, axis=1)

    def stats(self):
        return PlanCost(imagined_decisions=self.asked)


class Model:
    """What is left of a Stable-Baselines3 model to its user."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full(4, 0.5 if deterministic else -0.5), None


def test_each_lane_has_an_agent_that_is_asked_again_when_all_its_decisions_are_executed():
    agent = LanesOfAgents(lambda: Counter(at_once=3))
    for _ in range(2):  # a new episode drops what was left of the plan
        agent.reset([0, 1], ["t", "t"], [0, 1])
        agent.act([0], FRAME[None])
        both = np.stack([agent.act([1, 0], np.stack([FRAME, FRAME]))[:, 0] for _ in range(4)])
        assert both[:, 0] == pytest.approx([0.0, 0.01, 0.02, 0.03])
        assert both[:, 1] == pytest.approx([0.01, 0.02, 0.03, 0.04])
        assert agent.stats(0).imagined_decisions == 2
    assert agent.stats(0).plan_seconds > 0
    assert isinstance(agent, BatchAgent)


def test_callables_and_models_with_predict_are_made_agents_and_kinds_of_agents_told_apart():
    agent = as_agent(lambda observation: observation[0, 0, 0] + np.ones(4))
    assert isinstance(agent, Agent)
    agent.reset("t", 0)
    assert agent.act(FRAME).tolist() == [1.0] * 4
    assert as_agent(Model()).act(FRAME).tolist() == [0.5] * 4  # as the policy does most of all
    with pytest.raises(UserError, match="agent of type int"):
        as_agent(3)
    agents = (Counter(), RandomAgent(), ExpertAgent(), Model(), len)
    assert [kind_of(agent) for agent in agents] == ["single", "batch", "env", None, None]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros(3), r"mine returned actions of shape \(3,\), the environment takes \(4,\) or \(G, 4\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((1, 2, 4)), r"shape \(1, 2, 4\)"),
        ([0.0, float("nan"), 0.0, 0.0], "not finite"),
        ("left", "returned str"),
        (None, "mine returned"),
    ],
)
def test_bad_actions_are_refused_and_large_ones_clipped(answer, message):
    with pytest.raises(UserError, match=message):
        check_actions(answer, 4, "mine")
    assert check_actions([2.0, -3.0, 0.5, 0.0], 4, "mine").tolist() == [[1.0, -1.0, 0.5, 0.0]]


def test_random_actions_fill_the_box():
    agent = RandomAgent(action_dim=4)
    agent.reset([0, 1], ["t", "t"], [5, 6])
    drawn = np.stack([agent.act([0, 1], np.stack([FRAME, FRAME])) for _ in range(200)])
    assert drawn.min() < -0.95 and drawn.max() > 0.95 and abs(drawn.mean()) < 0.1
    assert not np.array_equal(drawn[:, 0], drawn[:, 1])


class Still(RandomAgent):
    """Never moves."""

    def act(self, lanes, frames):
        return np.zeros((len(lanes), 4), np.float32)


def played(agent, lanes, seeds, decisions=5):
    agent.reset(lanes, ["reach-v3"] * len(lanes), seeds)
    return np.stack([agent.act(lanes, np.stack([FRAME] * len(lanes))) for _ in range(decisions)], axis=1)


def test_noise_belongs_to_the_episode_whatever_its_lane_and_company():
    together = played(DisturbedAgent(Still(4), noise=0.3, random=0.3), [0, 1, 2], [7, 8, 9])
    (alone,) = played(DisturbedAgent(Still(4), noise=0.3, random=0.3), [5], [8])
    np.testing.assert_array_equal(together[1], alone)
    assert len(np.unique(together.reshape(-1, 4), axis=0)) == 15
    assert np.abs(together).max() <= 1.0
    plain = played(DisturbedAgent(RandomAgent(4)), [0, 1], [3, 4])
    np.testing.assert_array_equal(plain, played(RandomAgent(4), [0, 1], [3, 4]))


def test_noise_has_the_strength_asked_for_and_random_decisions_their_share():
    noisy = played(DisturbedAgent(Still(4), noise=0.2), [0], [1], 500)
    assert noisy.std() == pytest.approx(0.2, abs=0.015)
    mixed = played(DisturbedAgent(Still(4), random=0.3), [0], [1], 500)[0]
    assert (mixed != 0).any(axis=1).mean() == pytest.approx(0.3, abs=0.06)
    assert mixed[(mixed != 0).any(axis=1)].std() == pytest.approx(1 / np.sqrt(3), abs=0.04)
    for name, value in (("noise", -0.1), ("noise", float("nan")), ("random", 1.1)):
        with pytest.raises(UserError, match=name):
            DisturbedAgent(RandomAgent(4), **{name: value})
