"""The toy tasks: carry an object to a goal, or for reach_target only go there."""

import numpy as np
from pyrep.objects.dummy import Dummy
from scipy.spatial.transform import Rotation

from rlbench.backend.task import Task

NEAR = 0.04


class ToyTask(Task):
    """Made per task name by ``name_to_task_class``; it is all numbers, so nothing has to be loaded."""

    variations = 20

    def __init__(self, pyrep, robot):
        super().__init__(pyrep, robot)
        self.variation, self.carried = 0, False
        self.only_reach = self.name == "reach_target"
        self.goal = self.object = np.zeros(3)

    def load(self):
        self._base_object = Dummy.create()
        self._base_object.set_name(self.name)
        return self._base_object

    def init_task(self):
        pass

    def stops(self):
        """Where a demonstration goes."""
        return [self.goal] if self.only_reach else [self.object.copy(), self.goal]

    def marks(self):
        """Places and colours to draw."""
        red = (200, 40 + 30 * (self.variation % 6), 40)
        return [(self.goal, red), (self.object, (40, 160, 40))]

    def variation_count(self):
        return self.variations

    def init_episode(self, variation):
        self.variation, self.carried = variation, False
        self.goal = np.random.uniform([0.15, -0.3, 0.95], [0.4, 0.3, 1.3])
        self.object = self.goal if self.only_reach else np.random.uniform([0.15, -0.3, 0.9], [0.4, 0.3, 1.1])
        words = self.name.replace("_", " ")
        return [f"{words}, number {variation}", words]

    def step(self):
        tip = self.robot.arm.get_tip().get_matrix()[:3, 3]
        closed = self.robot.gripper.amount < 0.5
        self.carried = closed and (self.carried or bool(np.linalg.norm(tip - self.object) < NEAR))
        if self.carried and not self.only_reach:
            self.object = tip.copy()

    def success(self):
        place = self.robot.arm.get_tip().get_matrix()[:3, 3] if self.only_reach else self.object
        met = bool(np.linalg.norm(place - self.goal) < NEAR)
        # What a task counts as lost: the object dropped far away.
        lost = not self.only_reach and bool(np.linalg.norm(self.object - self.goal) > 1.0)
        return met, met or lost

    def get_low_dim_state(self):
        if self.only_reach:
            return self.goal.copy()
        turn = Rotation.identity().as_quat()
        return np.concatenate([self.object, turn, self.goal, turn])
