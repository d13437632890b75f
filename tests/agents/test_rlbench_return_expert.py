"""The expert of ``rlbench/return`` puts everything back, in the stand-in."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.agents.rlbench_experts import downwards
from sfvgen_plan.envs.rlbench.return_env import RLBenchReturnEnv


@pytest.mark.usefixtures("fake_rlbench")
@pytest.mark.parametrize("seed", [4, 9, 11])  # three, two and one objects; the first drives a joint towards its limit
def test_every_object_is_moved_and_put_back(seed):
    env, agent = RLBenchReturnEnv(pixels=False), ExpertAgent()
    _, info = env.reset(seed=seed)
    agent.reset(env.task, seed)
    truncated = False
    while not (truncated or info["success"]):
        *_, truncated, info = env.step(agent.act(env))
    assert info["success"]
    assert env.moved.all()
    env.close()


def test_the_tip_points_down_with_its_fingers_along_the_sides_of_a_cube():
    for heading in np.linspace(0, 6, 7):
        now = (Rotation.from_euler("z", heading) * Rotation.from_euler("x", np.pi)).as_quat()
        matrix = Rotation.from_quat(downwards(now, 0.0)).as_matrix()
        np.testing.assert_allclose(matrix[:, 2], [0, 0, -1], atol=1e-9)
        assert np.abs(matrix[:2, 0]).max() == pytest.approx(1.0)
        # With the joint in the middle of its range the nearest of the four is best.
        assert matrix[:2, 0] @ [np.cos(heading), np.sin(heading)] > 0.7
    # A joint near its limit is turned back.
    now = np.array([0.0, 1.0, 0.0, 0.0])
    turned = Rotation.from_quat(downwards(now, 2.8)).as_matrix()[:2, 0]
    angle = np.arctan2(turned[1], turned[0]) - np.pi  # counter-clockwise from above takes as much off the joint
    assert angle % (2 * np.pi) == pytest.approx(np.pi / 2)
