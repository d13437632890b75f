import numpy as np

from rlbench.backend.exceptions import InvalidActionError


class GripperActionMode:
    pass


class Discrete(GripperActionMode):
    """Above 0.5 opens; takes any number, 3.0 too."""

    def action(self, scene, action):
        if np.shape(action) != (1,):
            raise InvalidActionError(f"Expected the action shape to be: (1,), but was shape: {np.shape(action)}")
        wanted = float(action[0] > 0.5)
        opened = all(amount > 0.9 for amount in scene.robot.gripper.get_open_amount())
        if float(opened) != wanted:
            if wanted:
                scene.robot.gripper.release()
            else:
                for thing in scene.task.get_graspable_objects():
                    scene.robot.gripper.grasp(thing)
            while not scene.robot.gripper.actuate(wanted, velocity=0.2):
                scene.pyrep.step()
                scene.task.step()
            scene.task.step()

    def action_shape(self, scene):
        return (1,)

    def action_bounds(self):
        return np.array([0]), np.array([1])
