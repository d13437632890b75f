"""A seven-joint arm (the Panda's published link lengths) and a gripper, without any physics."""

import os

import numpy as np
from scipy.spatial.transform import Rotation

HOME = (0.0, 0.175, 0.0, -0.873, 0.0, 1.222, 0.785)
LIMITS = ((-2.9, 2.9), (-1.76, 1.76), (-2.9, 2.9), (-3.07, -0.07), (-2.9, 2.9), (-0.02, 3.75), (-2.9, 2.9))
BASE = (-0.31, 0.0, 0.82)
# Length along the last link, length along the joint, twist.
LINKS = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE = 0.21


class _Frame:
    def __init__(self, get):
        self._get = get

    def get_matrix(self):
        return self._get()

    def get_pose(self):
        matrix = self._get()
        return np.concatenate([matrix[:3, 3], Rotation.from_matrix(matrix[:3, :3]).as_quat()])


class Arm:
    pace = 0.12

    def __init__(self):
        self.q = np.array(HOME)
        self.target = self.q.copy()
        self.joints = [_Frame(lambda place=place: self.frames(self.q)[place]) for place in range(7)]

    def frames(self, q):
        """Poses of the joints and, last, of the tip."""
        pose, frames = np.eye(4), []
        pose[:3, 3] = BASE
        for angle, (length, offset, twist) in zip(q, LINKS):  # noqa: B905 - runs on Python 3.8
            ct, st, ca, sa = np.cos(angle), np.sin(angle), np.cos(twist), np.sin(twist)
            link = [[ct, -st, 0, length], [st * ca, ct * ca, -sa, -sa * offset], [st * sa, ct * sa, ca, ca * offset]]
            pose = pose @ np.array([*link, [0, 0, 0, 1]])
            frames.append(pose)
        tip = np.eye(4)
        tip[2, 3] = FLANGE
        return [*frames, pose @ tip]

    def get_tip(self):
        return _Frame(lambda: self.frames(self.q)[-1])

    def get_joint_positions(self):
        return self.q.tolist()

    def get_joint_intervals(self):
        return [False] * 7, [[low, high - low] for low, high in LIMITS]

    def set_control_loop_enabled(self, value):
        assert value, "positions are what it is told"

    def set_joint_target_positions(self, positions):
        self.target = np.array(positions, float)

    def check_arm_collision(self, obj):
        """As if the shape lay in it."""
        return "geometric" not in os.environ.get("FAKE_RLBENCH_WITHOUT", "")

    def get_nonlinear_path(self, position, euler=None, quaternion=None, max_configs=1, trials_per_goal=1):
        if "planner" in os.environ.get("FAKE_RLBENCH_WITHOUT", ""):
            raise RuntimeError("The call failed on the V-REP side. Return value: -1")
        return [self.q]

    def step(self):
        move = np.clip(self.target - self.q, -self.pace, self.pace)
        self.q = np.clip(self.q + move, *np.transpose(LIMITS))


class Gripper:
    joints = ("left finger", "right finger")
    REACH = 0.03

    def __init__(self, arm):
        self._arm = arm
        self.amount, self.closing = 1.0, 0.0
        self._held = []

    def grasp(self, obj):
        """Holds what its sensor detects between the fingers."""
        near = np.linalg.norm(obj.get_position() - self._place()) < self.REACH
        if near and obj.record.detectable:
            self._held.append((obj, obj.record.parent, obj.get_position() - self._place()))
            obj.record.parent = -2
        return bool(near)

    def release(self):
        for obj, parent, _ in self._held:
            if obj.still_exists():
                obj.record.parent = parent
        self._held = []

    def holds(self, obj):
        return any(obj == held for held, _, _ in self._held)

    def _place(self):
        return self._arm.get_tip().get_matrix()[:3, 3]

    def get_open_amount(self):
        return [self.amount, self.amount]

    def actuate(self, amount, velocity):
        self.closing = 0.0
        self.amount += float(np.clip(amount - self.amount, -velocity, velocity))
        return abs(self.amount - amount) < 1e-6

    def set_joint_target_velocities(self, velocities):
        self.closing = -float(velocities[0])

    def step(self):
        self.amount = max(0.0, self.amount - self.closing)
        for obj, _, offset in self._held:
            obj.set_position(self._place() + offset)


class Robot:
    def __init__(self):
        self.arm = Arm()
        self.gripper = Gripper(self.arm)
