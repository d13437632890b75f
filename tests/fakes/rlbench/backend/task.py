"""The base class of tasks: what is in the scene below a dummy with the task's name."""

import re

import numpy as np
from pyrep.objects.dummy import Dummy
from pyrep.objects.object import Object


class Task:
    def __init__(self, pyrep, robot, name=None):
        self.pyrep, self.robot = pyrep, robot
        self.name = name if name else re.sub("(?<!^)(?=[A-Z])", "_", self.__class__.__name__).lower()
        self._graspable_objects = []
        self._initial_objs_in_scene = None
        self._base_object = None

    def load(self):
        if Object.exists(self.name):
            return Dummy(self.name)
        raise FileNotFoundError(f"The following is not a valid task .ttm file: {self.name}")

    def unload(self):
        self.get_base().remove()

    def init_task(self):
        raise NotImplementedError("'init_task' is almost always necessary.")

    def init_episode(self, index):
        raise NotImplementedError("'init_episode' must be defined and return a list of strings.")

    def variation_count(self):
        raise NotImplementedError("'variation_count' must be defined and return an int.")

    def get_name(self):
        return self.name

    def get_base(self):
        self._base_object = Dummy(self.name)
        return self._base_object

    def boundary_root(self):
        return self.get_base()

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

    def reward(self):
        return None

    def set_initial_objects_in_scene(self):
        self._initial_objs_in_scene = self.get_base().get_objects_in_tree()

    def get_low_dim_state(self):
        poses = [o.get_pose() if o.still_exists() else np.zeros(7) for o in self._initial_objs_in_scene]
        return np.array(poses).flatten()

    def get_state(self):
        return self.get_base().get_configuration_tree(), len(self.get_base().get_objects_in_tree(exclude_base=False))

    def restore_state(self, state):
        count = len(self.get_base().get_objects_in_tree(exclude_base=False))
        if count != state[1]:
            raise RuntimeError(f"Expected to be resetting {state[1]} objects, but there were {count}.")
