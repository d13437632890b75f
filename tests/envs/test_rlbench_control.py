"""The controller, on the arm of the stand-in, whose poses follow from published link lengths."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sfvgen_plan.envs.rlbench.control import MAX_SIMULATION_STEPS, SerialChain, move_tip, pose_matrix

FILE = Path(__file__).resolve().parents[1] / "fakes" / "rlbench" / "backend" / "robot.py"
spec = spec_from_file_location("robot_of_the_stand_in", FILE)
robot = module_from_spec(spec)
spec.loader.exec_module(robot)


def arm_at(joints, pace=0.1):
    """An arm whose joints go where they are sent, ``pace`` radians in a step."""
    arm = robot.Arm()
    arm.q, arm.pace = np.array(joints, float), pace
    return arm


def some_joints(seed):
    return robot.HOME + np.random.default_rng(seed).uniform(-0.3, 0.3, 7)


def tip_of(arm):
    return arm.get_tip().get_matrix()


def move(arm, displacement, turn=(0, 0, 0, 1)):
    scene = SimpleNamespace(robot=SimpleNamespace(arm=arm), step=arm.step)
    return move_tip(scene, SerialChain.of_arm(arm), displacement, turn)


@pytest.mark.parametrize("seed", range(3))
def test_a_near_pose_is_reached_with_tenths_of_millimetres(seed):
    start = some_joints(seed)
    chain, goal = SerialChain.of_arm(arm_at(start)), tip_of(arm_at(start + 0.1 * (some_joints(seed + 9) > robot.HOME)))
    solution = chain.solve(start, goal)
    reached = tip_of(arm_at(solution.joints))
    np.testing.assert_allclose(chain.forward(solution.joints)[0], reached, atol=1e-9)
    assert np.linalg.norm(reached[:3, 3] - goal[:3, 3]) == pytest.approx(solution.position_error, abs=1e-9)
    assert solution.position_error < 3e-4 and solution.rotation_error < 3e-3


def test_an_unreachable_pose_is_approached_and_limits_hold():
    start, goal = np.array(robot.HOME), pose_matrix([0, 0, 3, 0, 0, 0, 1])
    solution = SerialChain.of_arm(arm_at(start)).solve(start, goal)
    assert solution.position_error < np.linalg.norm(tip_of(arm_at(start))[:3, 3] - goal[:3, 3])
    lower, upper = np.transpose(robot.LIMITS)
    assert (solution.joints >= lower).all() and (solution.joints <= upper).all()


def test_the_tip_moves_by_what_was_asked_in_the_world_frame():
    arm, turn = arm_at(some_joints(4)), Rotation.from_rotvec([0.0, 0.1, 0.0])
    before = tip_of(arm)
    made, after = move(arm, [0.03, -0.02, 0.01], turn.as_quat()), tip_of(arm)
    # Motion stops with every joint within 0.01 rad of its target.
    np.testing.assert_allclose(after[:3, 3] - before[:3, 3], [0.03, -0.02, 0.01], atol=0.01)
    np.testing.assert_allclose(after[:3, :3], turn.as_matrix() @ before[:3, :3], atol=0.05)
    assert 1 <= made.steps < MAX_SIMULATION_STEPS
    # A blocked arm gives up and a slow one runs out of steps.
    assert move(arm_at(some_joints(5), pace=0.0), [0.05, 0, 0]).steps == 2
    assert move(arm_at(some_joints(5), pace=0.0012), [0.05, 0, 0]).steps == MAX_SIMULATION_STEPS
