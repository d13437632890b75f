"""The controller, against poses that are known analytically."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sfvgen_plan.envs.rlbench.control import MAX_SIMULATION_STEPS, SerialChain, move_tip, pose_matrix

LENGTH = 0.3
LIMIT = 2.8


def arm_chain(reference=None):
    """Seven joints of an upright arm, alternately about z and y, ``LENGTH`` apart; read off at ``reference``."""
    chain = SerialChain(
        axes=np.array([[0.0, 0.0, 1.0] if j % 2 == 0 else [0.0, 1.0, 0.0] for j in range(7)]),
        points=np.array([[0.0, 0.0, j * LENGTH] for j in range(7)]),
        tip=pose_matrix([0, 0, 7 * LENGTH, 0, 0, 0, 1]),
        reference=np.zeros(7),
        lower=np.full(7, -LIMIT),
        upper=np.full(7, LIMIT),
    )
    if reference is None:
        return chain
    return SerialChain.of_arm(StillArm(chain, reference))


class StillArm:
    """The part of a PyRep arm that is read; joints go where they are sent, ``speed`` radians per step."""

    def __init__(self, chain, joints, speed=0.1):
        self.chain, self.now, self.goal, self.speed = chain, np.array(joints, float), np.array(joints, float), speed

    @property
    def joints(self):
        return [SimpleNamespace(get_matrix=lambda j=j: self._joint(j)) for j in range(7)]

    def get_joint_intervals(self):
        return [False] * 7, [[low, high - low] for low, high in zip(self.chain.lower, self.chain.upper, strict=True)]

    def get_joint_positions(self):
        return self.now.tolist()

    def set_joint_target_positions(self, joints):
        self.goal = np.array(joints)

    def get_tip(self):
        matrix = self.chain.forward(self.now)[0]
        pose = np.concatenate([matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3]).as_quat()])
        return SimpleNamespace(get_matrix=lambda: matrix, get_pose=lambda: pose)

    def step(self):
        self.now += np.clip(self.goal - self.now, -self.speed, self.speed)

    def _joint(self, j):
        """Pose of a frame whose z axis is joint ``j``: moved only by the joints before it."""
        before = np.where(np.arange(7) < j, self.now, 0.0)
        shape = self.chain
        frame = np.eye(4)
        frame[:3, :3] = np.eye(3) if j % 2 == 0 else Rotation.from_euler("x", -90, degrees=True).as_matrix()
        frame[:3, 3] = shape.points[j]
        moved = shape.forward(before)[0] @ np.linalg.inv(shape.tip)
        return moved @ frame


def scene_of(arm):
    return SimpleNamespace(robot=SimpleNamespace(arm=arm), step=arm.step)


def some_joints(seed):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, 7)


def test_the_jacobian_is_the_derivative_of_the_pose():
    chain, joints, small = arm_chain(), some_joints(0), 1e-6
    pose, jacobian = chain.forward(joints)
    for j in range(7):
        nudged = chain.forward(joints + small * np.eye(7)[j])[0]
        turn = Rotation.from_matrix(nudged[:3, :3] @ pose[:3, :3].T).as_rotvec()
        change = np.concatenate([nudged[:3, 3] - pose[:3, 3], turn]) / small
        np.testing.assert_allclose(jacobian[:, j], change, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_a_near_pose_is_reached_with_tenths_of_millimetres(seed):
    chain, start = arm_chain(), some_joints(seed)
    goal = chain.forward(start + np.random.default_rng(seed).uniform(-0.1, 0.1, 7))[0]
    solution = chain.solve(start, goal)
    reached = chain.forward(solution.joints)[0]
    assert np.linalg.norm(reached[:3, 3] - goal[:3, 3]) == pytest.approx(solution.position_error)
    assert solution.position_error < 3e-4
    assert solution.rotation_error < 3e-3


def test_an_unreachable_pose_is_approached_and_limits_hold():
    chain = arm_chain()
    goal = pose_matrix([0, 0, 9 * LENGTH, 0, 0, 0, 1])  # two links higher than the arm is long
    start = np.full(7, 0.4)
    solution = chain.solve(start, goal)
    assert solution.position_error < np.linalg.norm(chain.forward(start)[0][:3, 3] - goal[:3, 3])
    assert (np.abs(solution.joints) <= LIMIT).all()


def test_the_tip_moves_by_what_was_asked_in_the_world_frame():
    arm = StillArm(arm_chain(), some_joints(4))
    before = arm.chain.forward(arm.now)[0]
    turn = Rotation.from_rotvec([0.0, 0.1, 0.0])
    move = move_tip(scene_of(arm), SerialChain.of_arm(arm), [0.03, -0.02, 0.01], turn.as_quat())
    after = arm.chain.forward(arm.now)[0]
    # Motion stops with every joint within 0.01 rad of its target.
    np.testing.assert_allclose(after[:3, 3] - before[:3, 3], [0.03, -0.02, 0.01], atol=0.01)
    np.testing.assert_allclose(after[:3, :3], turn.as_matrix() @ before[:3, :3], atol=0.05)
    assert 1 <= move.steps < MAX_SIMULATION_STEPS


def test_a_blocked_arm_gives_up_and_a_slow_one_runs_out_of_steps():
    blocked = StillArm(arm_chain(), some_joints(5), speed=0.0)
    assert move_tip(scene_of(blocked), arm_chain(), [0.05, 0, 0], [0, 0, 0, 1]).steps == 2
    slow = StillArm(arm_chain(), some_joints(5), speed=0.0012)
    assert move_tip(scene_of(slow), arm_chain(), [0.05, 0, 0], [0, 0, 0, 1]).steps == MAX_SIMULATION_STEPS
