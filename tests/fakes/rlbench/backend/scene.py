"""The scene around a task, drawn as coloured squares; shapes fall onto the table at once."""

from types import SimpleNamespace

import numpy as np
from pyrep.objects.object import TABLE as OBJECTS
from pyrep.objects.object import Object

from rlbench.backend.robot import HOME, Robot
from rlbench.observation_config import CAMERAS

LOW, HIGH = np.array([-0.275, -0.655, 0.752]), np.array([0.775, 0.655, 1.752])
TABLE_HEIGHT = 0.75
AXES = {"left_shoulder": (0, 1), "right_shoulder": (0, 1), "overhead": (1, 0), "wrist": (0, 2), "front": (1, 2)}
DEMO_STEP = 0.02


class Scene:
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
        if not self._has_init_task:
            self.task.init_task()
            self._initial_task_state = self.task.get_state()
            self._has_init_task = True
        descriptions = self.task.init_episode(variation)
        if not self.task.is_static_workspace():
            # Somewhere else in the workspace. The toy tasks have drawn their places themselves.
            for thing in self.task.get_base().get_objects_in_tree():
                thing.set_position(np.add(thing.get_position(), [0.1, 0.0, 0.0]))
        self.task.validate()
        return descriptions

    def get_observation(self):
        """Fields that are off are None."""
        arm, gripper = self.robot.arm, self.robot.gripper
        fields = {
            "joint_positions": np.array(arm.get_joint_positions()),
            "gripper_pose": np.array(arm.get_tip().get_pose()),
            "gripper_open": 1.0 if gripper.amount > 0.9 else 0.0,
            "task_low_dim_state": self.task.get_low_dim_state(),
        }
        told = {name: value if getattr(self.config, name) else None for name, value in fields.items()}
        for camera in CAMERAS:
            told[camera + "_rgb"] = self._draw(camera) if getattr(self.config, camera + "_camera").rgb else None
        return SimpleNamespace(**told)

    def get_demo(self):
        """A straight path, closing the gripper at the object."""
        start, path = self.robot.arm.get_tip().get_pose(), []
        position, opened = start[:3], 1.0
        for number, stop in enumerate(self.task.stops()):
            if number:
                opened = 0.0
                path += [(position, opened)] * 3
            count = max(1, int(np.ceil(np.linalg.norm(stop - position) / DEMO_STEP)))
            path += [(position + part * (stop - position), opened) for part in np.linspace(0, 1, count + 1)]
            position = stop
        return [SimpleNamespace(gripper_pose=[*place, *start[3:]], gripper_open=opened) for place, opened in path]

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
