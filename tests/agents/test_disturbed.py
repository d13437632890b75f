"""Agents made worse on purpose."""

import numpy as np
import pytest

from sfvgen_plan.agents.adapters import DisturbedAgent
from sfvgen_plan.agents.lanes import RandomAgent
from sfvgen_plan.errors import UserError

FRAMES = np.zeros((3, 8, 8, 3), np.uint8)


class Still(RandomAgent):
    """Never moves."""

    def act(self, lanes, frames):
        return np.zeros((len(lanes), 4), np.float32)


def played(agent, lanes, seeds, decisions=5):
    agent.reset(lanes, ["reach-v3"] * len(lanes), seeds)
    return np.stack([agent.act(lanes, FRAMES[: len(lanes)]) for _ in range(decisions)], axis=1)


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
