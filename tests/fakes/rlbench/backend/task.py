"""The base class of tasks: what is in the scene below a dummy with the task's name."""

import re

import numpy as np
from pyrep.objects.dummy import Dummy


class Task:
    def __init__(self, pyrep, robot, name=None):
        self.pyrep, self.robot = pyrep, robot
        self.name = name if name else re.sub("(?<!^)(?=[A-Z])", "_", self.__class__.__name__).lower()
        self._graspable_objects = []
        self._initial_objs_in_scene = None
        self._base_object = None

    def unload(self):
        self.get_base().remove()

    def get_base(self):
        self._base_object = Dummy(self.name)
        return self._base_object

    def is_static_workspace(self):
        return False

    def validate(self):
        pass

    def step(self):
        pass

    def cleanup(self):
        pass

    def cleanup_(self):
        self.cleanup()

    def register_graspable_objects(self, objects):
        self._graspable_objects = objects

    def get_graspable_objects(self):
        return self._graspable_objects

    def success(self):
        return True, True  # all of no conditions

    def set_initial_objects_in_scene(self):
        self._initial_objs_in_scene = self.get_base().get_objects_in_tree()

    def get_low_dim_state(self):
        poses = [o.get_pose() if o.still_exists() else np.zeros(7) for o in self._initial_objs_in_scene]
        return np.array(poses).flatten()

    def get_state(self):
        return len(self.get_base().get_objects_in_tree())

    def restore_state(self, state):
        if self.get_state() != state:
            raise RuntimeError(f"Expected to be resetting {state} objects, but there were {self.get_state()}.")
