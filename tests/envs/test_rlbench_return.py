"""``rlbench/return``, played against the stand-in."""

import numpy as np
import pytest

from sfvgen_plan.envs.memory.return_task import AWAY_DISTANCE, draw_layout
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.return_env import WORKSPACE, RLBenchReturnEnv
from sfvgen_plan.errors import UserError

pytestmark = pytest.mark.usefixtures("fake_rlbench")

STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture(scope="module")
def env(fake_rlbench_for_all):
    env = RLBenchReturnEnv(size=64)
    yield env
    env.close()


def test_the_seed_decides_what_lies_on_the_table(env):
    first, info = env.reset(seed=3)
    layout = draw_layout(np.random.default_rng(3), WORKSPACE)
    assert {"distance", "sub_goals", "sub_goal", "sub_goal_index"} <= set(info)
    np.testing.assert_allclose(env.positions(), layout.places, atol=1e-6)
    assert info["sub_goals"] == tuple(goal.text for goal in layout.sub_goals)
    assert env.length == sum(decisions for _, decisions in layout.schedule)
    other, _ = env.reset(seed=4)
    again, again_info = env.reset(seed=3)
    assert (first != other).any()
    np.testing.assert_array_equal(first, again)  # and nothing was left of what lay there before
    np.testing.assert_array_equal(info["state"], again_info["state"])


def test_an_object_is_carried_away_and_back(env):
    env.reset(seed=11)
    place = env.layout.places[0]
    away = env.sub_goal.place
    assert not env.sub_goal.back

    def go(target, gripper):
        for _ in range(25):
            shift = (target - env.state[:3]) / 0.05
            *_, info = env.step(np.array([*np.clip(shift, -1, 1), 0, 0, 0, gripper]))
            if np.abs(shift).max() < 0.1:
                break
        return info

    for target, gripper in ((place + np.array([0, 0, 0.1]), 1), (place, 1), (place, -1)):
        go(target, gripper)
    info = go(away, -1)
    np.testing.assert_allclose(env.positions()[0], away, atol=0.02)
    assert env.moved.all() and not info["success"]
    info = go(place, -1)
    assert info["distance"] < 0.02 and info["success"]
    _, reward, terminated, _, info = env.step(STILL)
    assert (reward, terminated, info["success_latched"]) == (1.0, False, True)


def test_what_was_never_moved_is_not_back_and_time_runs_out():
    env = RLBenchReturnEnv(max_decisions=3, pixels=False)
    env.reset(seed=0)
    outcomes = [env.step(STILL) for _ in range(3)]
    assert [(reward, truncated) for _, reward, _, truncated, _ in outcomes] == [(0, False), (0, False), (0, True)]
    assert outcomes[-1][-1]["distance"] == AWAY_DISTANCE
    env.close()


def test_bad_input_is_named(env):
    env.reset(seed=0)
    for call, message in (
        (lambda: RLBenchReturnEnv(max_decisions=0), "max_decisions=0"),
        (lambda: RLBenchEnv("return"), "sfvgen/RLBench-v0"),
        (lambda: RLBenchReturnEnv("reach_target"), "sfvgen/RLBench-v0"),
        (lambda: env.demonstrate(0), "no demonstrations"),
        (lambda: env.reset(seed=0, options={"variation": 1}), "variation=1 is out of range"),
    ):
        with pytest.raises(UserError, match=message):
            call()
