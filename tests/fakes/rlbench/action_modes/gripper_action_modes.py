import numpy as np


class Discrete:
    """Above 0.5 opens; takes any number, 3.0 too."""

    def action(self, scene, action):
        if np.shape(action) != (1,):
            raise RuntimeError(f"Expected the action shape to be: (1,), but was shape: {np.shape(action)}")
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
