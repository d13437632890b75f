"""The scene around a task, drawn as coloured squares; shapes fall onto the table at once."""

import numpy as np
from pyrep.objects.object import TABLE as OBJECTS
from pyrep.objects.object import Object

from rlbench.backend.exceptions import BoundaryError
from rlbench.backend.observation import CAMERAS, Observation
from rlbench.backend.robot import HOME, Robot
from rlbench.demo import Demo

LOW, HIGH = np.array([-0.275, -0.655, 0.752]), np.array([0.775, 0.655, 1.752])
TABLE_HEIGHT = 0.75
AXES = {"left_shoulder": (0, 1), "right_shoulder": (0, 1), "overhead": (1, 0), "wrist": (0, 2), "front": (1, 2)}
DEMO_STEP = 0.02


class Scene:
    robot_setup = "panda"

    def __init__(self, pyrep, obs_config):
        self.pyrep, self.robot, self.config = pyrep, Robot(), obs_config
        self.task = None
        self._initial_task_state = None
        self._has_init_task = False
        self._backgrounds = {
            camera: np.full((*getattr(obs_config, camera + "_camera").image_size, 3), 60 + 20 * number, np.uint8)
            for number, camera in enumerate(CAMERAS)
        }

    def load(self, task):
        task.load()
        task.get_base().set_position([0.25, 0.0, 0.752])
        self._initial_task_state = task.get_state()
        self.task, self._has_init_task = task, False

    def unload(self):
        if self.task is not None:
            self.robot.gripper.release()
            if self._has_init_task:
                self.task.cleanup_()
            self.task.unload()
        self.task = None

    def reset(self):
        self.robot.gripper.release()
        traces = 1e-3 * (self.pyrep.simulated % 7)
        self.robot.arm.q, self.robot.arm.target = np.array(HOME) + traces, np.array(HOME) + traces
        self.robot.gripper.amount, self.robot.gripper.closing = 1.0, 0.0
        if self._has_init_task:
            self.task.cleanup_()
            self.task.restore_state(self._initial_task_state)
        self.task.set_initial_objects_in_scene()

    def step(self):
        self.pyrep.simulated += 1
        self.robot.arm.step()
        self.robot.gripper.step()
        for handle, record in OBJECTS.items():
            if record.size and not self.robot.gripper.holds(Object(handle)):
                record.position[2] = TABLE_HEIGHT + record.size[2] / 2  # falls
        self.task.step()

    def tip(self):
        return self.robot.arm.get_tip().get_matrix()[:3, 3]

    def init_episode(self, variation):
        if self.task is None:
            raise BoundaryError("no task")
        if not self._has_init_task:
            self.task.init_task()
            self._initial_task_state = self.task.get_state()
            self._has_init_task = True
        descriptions = self.task.init_episode(variation)
        if not self.task.is_static_workspace():
            self._place_task()
        self.task.validate()
        return descriptions

    def _place_task(self):
        """Somewhere else in the workspace. The toy tasks have drawn their places themselves."""
        base = self.task.get_base()
        for thing in base.get_objects_in_tree():
            thing.set_position(np.add(thing.get_position(), [0.1, 0.0, 0.0]))

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
        return Observation(misc={"variation_index": getattr(self.task, "variation", 0)}, **fields)

    def get_demo(self):
        """A straight path, closing the gripper at the object."""
        stops = self.task.stops()
        start, opened = self.robot.arm.get_tip().get_pose(), 1.0
        observations = []
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
        marks = [*getattr(self.task, "marks", list)(), (self.tip(), (40, 40, 220))]
        for record in OBJECTS.values():
            if record.color:
                marks.append((record.position, [int(255 * part) for part in record.color]))
        for place, paint in marks:
            part = (place - LOW) / (HIGH - LOW)
            x, y = int(part[across] * (width - 9)), int((1 - part[up]) * (height - 9))
            frame[max(y, 0) : y + 9, max(x, 0) : x + 9] = paint
        return frame
