from enum import Enum

import numpy as np
from pyrep.errors import IKError
from scipy.spatial.transform import Rotation

from rlbench.backend.exceptions import InvalidActionError


class RelativeFrame(Enum):
    WORLD = 0
    EE = 1


def _check(action, shape):
    if np.shape(action) != shape:
        raise InvalidActionError(f"Expected the action shape to be: {shape}, but was shape: {np.shape(action)}")


class ArmActionMode:
    def set_control_mode(self, robot):
        robot.arm.set_control_loop_enabled(True)


class JointVelocity(ArmActionMode):
    def action(self, scene, action):
        _check(action, (7,))
        scene.robot.arm.set_joint_target_velocities(action)
        scene.step()
        scene.robot.arm.set_joint_target_velocities(np.zeros(7))

    def action_shape(self, scene):
        return (7,)

    def set_control_mode(self, robot):
        robot.arm.set_control_loop_enabled(False)
        robot.arm.set_motor_locked_at_zero_velocity(True)


class EndEffectorPoseViaIK(ArmActionMode):
    def __init__(self, absolute_mode=True, frame=RelativeFrame.WORLD, collision_checking=False):
        self._absolute_mode = absolute_mode

    def action(self, scene, action):
        _check(action, (7,))
        if not np.isclose(np.linalg.norm(action[3:]), 1.0):
            raise InvalidActionError("Action contained non unit quaternion!")
        position, quaternion = action[:3], action[3:]
        if not self._absolute_mode:
            pose = scene.robot.arm.get_tip().get_pose()
            position = pose[:3] + position
            quaternion = (Rotation.from_quat(quaternion) * Rotation.from_quat(pose[3:])).as_quat()
        self._go(scene, position, quaternion)

    def _go(self, scene, position, quaternion):
        arm = scene.robot.arm
        try:
            arm.set_joint_target_positions(arm.solve_ik_via_jacobian(position, quaternion))
        except IKError as error:
            raise InvalidActionError("Could not perform IK via Jacobian") from error
        for _ in range(40):
            scene.step()

    def action_shape(self, scene):
        return (7,)


class EndEffectorPoseViaPlanning(EndEffectorPoseViaIK):
    def _go(self, scene, position, quaternion):
        if not scene.check_target_in_workspace(position):
            raise InvalidActionError("A path could not be found because the target is outside of workspace.")
        super()._go(scene, position, quaternion)
