"""Agents made worse on purpose, action sequences without sense, and the expert without privileges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.base import BatchAgent, PlanCost
from sfvgen_plan.agents.disturbed import DisturbedAgent
from sfvgen_plan.agents.expert import ExpertAgent
from sfvgen_plan.agents.players.random import RandomAgent
from sfvgen_plan.agents.readout import ReadoutExpert
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome

FRAMES = np.zeros((3, 8, 8, 3), np.uint8)


class Still:
    """Never moves."""

    def reset(self, lanes: list[int], tasks: list[str], seeds: list[int]) -> None:
        """Nothing to do."""

    def act(self, lanes: list[int], frames: np.ndarray) -> np.ndarray:
        return np.zeros((len(lanes), 4), np.float32)

    def stats(self, lane: int) -> PlanCost:
        return PlanCost()


def played(agent: BatchAgent, lanes: list[int], seeds: list[int], decisions: int = 5) -> np.ndarray:
    agent.reset(lanes, ["reach-v3"] * len(lanes), seeds)
    return np.stack([agent.act(lanes, FRAMES[: len(lanes)]) for _ in range(decisions)], axis=1)


def test_noise_belongs_to_the_episode_whatever_its_lane_and_company() -> None:
    together = played(DisturbedAgent(Still(), noise=0.3, random=0.3), [0, 1, 2], [7, 8, 9])
    (alone,) = played(DisturbedAgent(Still(), noise=0.3, random=0.3), [5], [8])
    np.testing.assert_array_equal(together[1], alone)
    assert len(np.unique(together.reshape(-1, 4), axis=0)) == 15
    assert np.abs(together).max() <= 1.0
    plain = played(DisturbedAgent(RandomAgent(4)), [0, 1], [3, 4])
    np.testing.assert_array_equal(plain, played(RandomAgent(4), [0, 1], [3, 4]))


def test_noise_has_the_strength_asked_for_and_random_decisions_their_share() -> None:
    noisy = played(DisturbedAgent(Still(), noise=0.2), [0], [1], 500)
    assert noisy.std() == pytest.approx(0.2, abs=0.015)
    mixed = played(DisturbedAgent(Still(), random=0.3), [0], [1], 500)[0]
    assert (mixed != 0).any(axis=1).mean() == pytest.approx(0.3, abs=0.06)
    assert mixed[(mixed != 0).any(axis=1)].std() == pytest.approx(1 / np.sqrt(3), abs=0.04)


@pytest.mark.parametrize("settings", [{"noise": -0.1}, {"noise": float("nan")}, {"random": 1.1}])
def test_numbers_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        DisturbedAgent(RandomAgent(4), **settings)


class TrueReader:
    """Reads the truth, whatever the frames."""

    def __init__(self, env: MetaworldEnv) -> None:
        self.env = env
        self.estimates: np.ndarray = np.zeros(10)

    def begin(self, frames: np.ndarray, tasks: Any, seeds: Any) -> int:
        return len(frames)

    def observe(self, state: int, frames: np.ndarray, actions: Any) -> int:
        return state

    def read(self, state: int) -> Outcome:
        zeros = torch.zeros(state, 1)
        return Outcome(zeros, zeros, zeros, torch.from_numpy(self.estimates)[None, None].expand(state, 1, -1))


@pytest.mark.parametrize("task", ["push-v3", "drawer-open-v3", "coffee-button-v3"])
def test_true_readouts_are_all_that_the_scripted_policies_need(task: str) -> None:
    env = MetaworldEnv(task, pixels=False)
    reader = TrueReader(env)
    agent = ReadoutExpert(reader)
    frame, info = env.reset(seed=0)
    agent.reset([0], [task], [0])
    privileged = ExpertAgent()
    privileged.reset(task, 0)
    for decision in range(60):
        reader.estimates = info["estimates"]
        (action,) = agent.act([0], frame[None])
        if not decision:
            np.testing.assert_allclose(action, privileged.act(env), atol=0.05)
        frame, _, _, _, info = env.step(action)
        if info["success"]:
            break
    assert info["success_latched"]
    assert agent.stats(0).plan_seconds > 0
