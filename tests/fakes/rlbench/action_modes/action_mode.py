class MoveArmThenGripper:
    def __init__(self, arm_action_mode, gripper_action_mode):
        self.arm_action_mode, self.gripper_action_mode = arm_action_mode, gripper_action_mode

    def action(self, scene, action):
        (size,) = self.arm_action_mode.action_shape(scene)
        self.arm_action_mode.action(scene, action[:size])
        self.gripper_action_mode.action(scene, action[size:])
