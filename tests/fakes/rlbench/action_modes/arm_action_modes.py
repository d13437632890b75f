class ArmActionMode:
    def set_control_mode(self, robot):
        robot.arm.set_control_loop_enabled(True)
