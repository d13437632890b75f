"""The toy scene: carry an object to a goal, or for reach_target only go there. Drawn as coloured squares."""

import numpy as np
from scipy.spatial.transform import Rotation

from rlbench.backend.exceptions import BoundaryError
from rlbench.backend.observation import CAMERAS, Observation
from rlbench.backend.robot import HOME, Robot
from rlbench.demo import Demo

LOW, HIGH = np.array([-0.275, -0.655, 0.752]), np.array([0.775, 0.655, 1.752])
NEAR = 0.04
AXES = {"left_shoulder": (0, 1), "right_shoulder": (0, 1), "overhead": (1, 0), "wrist": (0, 2), "front": (1, 2)}
DEMO_STEP = 0.02


class Scene:
    robot_setup = "panda"

    def __init__(self, pyrep, obs_config):
        self.pyrep, self.robot, self.config = pyrep, Robot(), obs_config
        self.task = None
        self._backgrounds = {
            camera: np.full((*getattr(obs_config, camera + "_camera").image_size, 3), 60 + 20 * number, np.uint8)
            for number, camera in enumerate(CAMERAS)
        }

    def reset(self):
        self.robot.arm.q, self.robot.arm.target = np.array(HOME), np.array(HOME)
        self.robot.arm.velocity = np.zeros(7)
        self.robot.gripper.amount, self.robot.gripper.closing = 1.0, 0.0

    def step(self):
        self.robot.arm.step()
        self.robot.gripper.step()
        self.task.step()

    def tip(self):
        return self.robot.arm.get_tip().get_matrix()[:3, 3]

    def check_target_in_workspace(self, position):
        return bool((position > LOW).all() and (position < HIGH).all())

    def init_episode(self, variation):
        if self.task is None:
            raise BoundaryError("no task")
        return self.task.init_episode(variation)

    def get_observation(self):
        fields = {}
        for camera in CAMERAS:
            config = getattr(self.config, camera + "_camera")
            if config.rgb:
                fields[camera + "_rgb"] = self._draw(camera)
            if config.depth:
                fields[camera + "_depth"] = np.zeros(config.image_size, np.float32)
        robot = self.robot
        numbers = {
            "joint_positions": np.array(robot.arm.get_joint_positions()),
            "joint_velocities": np.zeros(7),
            "joint_forces": np.zeros(7),
            "gripper_pose": np.array(robot.arm.get_tip().get_pose()),
            "gripper_open": 1.0 if robot.gripper.amount > 0.9 else 0.0,
            "task_low_dim_state": self.task.get_low_dim_state(),
        }
        fields.update({name: value for name, value in numbers.items() if getattr(self.config, name)})
        return Observation(misc={"variation_index": self.task.variation}, **fields)

    def get_demo(self):
        """A straight path, closing the gripper at the object."""
        start, opened = self.robot.arm.get_tip().get_pose(), 1.0
        observations = []
        stops = [self.task.goal] if self.task.only_reach else [self.task.object.copy(), self.task.goal]
        position, quaternion = start[:3], start[3:]
        for number, stop in enumerate(stops):
            if number:
                opened = 0.0
                observations += [self._demo_observation(position, quaternion, opened)] * 3
            count = max(1, int(np.ceil(np.linalg.norm(stop - position) / DEMO_STEP)))
            for part in np.linspace(0, 1, count + 1):
                observations.append(self._demo_observation(position + part * (stop - position), quaternion, opened))
            position = stop
        return Demo(observations)

    def _demo_observation(self, position, quaternion, opened):
        pose = np.concatenate([position, quaternion])
        return Observation(gripper_pose=pose, gripper_open=opened, joint_positions=np.array(HOME))

    def _draw(self, camera):
        frame = self._backgrounds[camera].copy()
        height, width = frame.shape[:2]
        across, up = AXES[camera]
        colour = ((200, 40 + 30 * (self.task.variation % 6), 40), (40, 160, 40), (40, 40, 220))
        places = (self.task.goal, self.task.object, self.tip())
        for place, paint in zip(places, colour):  # noqa: B905 - runs on Python 3.8
            part = (place - LOW) / (HIGH - LOW)
            x, y = int(part[across] * (width - 9)), int((1 - part[up]) * (height - 9))
            frame[max(y, 0) : y + 9, max(x, 0) : x + 9] = paint
        return frame


class Task:
    """Made per task name by ``name_to_task_class``."""

    name = "reach_target"
    variations = 20
    shaped = True

    def __init__(self, pyrep, robot):
        self._robot = robot
        self.variation, self.carried = 0, False
        self.only_reach = self.name == "reach_target"
        self.goal = self.object = np.zeros(3)

    def get_name(self):
        return self.name

    def variation_count(self):
        return self.variations

    def init_episode(self, variation):
        self.variation, self.carried = variation, False
        self.goal = np.random.uniform([0.15, -0.3, 0.95], [0.4, 0.3, 1.3])
        self.object = self.goal if self.only_reach else np.random.uniform([0.15, -0.3, 0.9], [0.4, 0.3, 1.1])
        words = self.name.replace("_", " ")
        return [words, f"{words}, number {variation}"]

    def step(self):
        tip = self._robot.arm.get_tip().get_matrix()[:3, 3]
        closed = self._robot.gripper.amount < 0.5
        self.carried = closed and (self.carried or bool(np.linalg.norm(tip - self.object) < NEAR))
        if self.carried and not self.only_reach:
            self.object = tip.copy()

    def success(self):
        place = self._robot.arm.get_tip().get_matrix()[:3, 3] if self.only_reach else self.object
        met = bool(np.linalg.norm(place - self.goal) < NEAR)
        # What a task counts as lost: the object dropped far away.
        lost = not self.only_reach and bool(np.linalg.norm(self.object - self.goal) > 1.0)
        return met, met or lost

    def reward(self):
        if not self.shaped:
            return None
        tip = self._robot.arm.get_tip().get_matrix()[:3, 3]
        return float(-np.linalg.norm(tip - self.goal))

    def get_low_dim_state(self):
        if self.only_reach:
            return self.goal.copy()
        turn = Rotation.identity().as_quat()
        return np.concatenate([self.object, turn, self.goal, turn])

    def get_graspable_objects(self):
        return []
