"""Moves the tip of an arm by small steps: damped-least-squares inverse kinematics, then position control.

Runs beside RLBench, in its interpreter: imports numpy and scipy only. The same numbers drove the arm when the recorded
episodes were made, so changing a constant here changes what an action does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

ITERATIONS = 20
DAMPING = 4.5e-5
ROTATION_WEIGHT = 0.3  # metres that one radian counts for
MAX_JOINT_MOVE = 0.25  # radians per iteration
CLOSE_ENOUGH = (3e-4, 3e-3)  # metres and radians at which the iteration stops
LIMIT_STOP, LIMIT_EDGE = 0.01, 0.005
"""Radians: a joint this close to its limit moves no further towards it; no solution comes closer than the edge."""
AVOID_WITHIN, AVOID_GAIN, AVOID_DAMPING = 0.5, 0.5, 1e-5
"""Null-space motion away from limits that are nearer than this many radians."""

REACHED, STALLED, MAX_SIMULATION_STEPS = 0.01, 0.001, 25
"""The arm has arrived when every joint is this near its target (rad), is stuck when none moves this much in a step."""

FINGER_SPEED = 0.05  # metres per second at which closed fingers keep closing, limited by the motors' force


class Solution(NamedTuple):
    """Joint angles (J,) and how far the tip stays from its target, in metres and radians."""

    joints: np.ndarray
    position_error: float
    rotation_error: float


class Move(NamedTuple):
    """What a motion took: simulation steps, and the errors of the solution it went for (metres, radians)."""

    steps: int
    position_error: float
    rotation_error: float


class SerialChain:
    """Revolute joints in a row, described by where they lie in one configuration (product of exponentials).

    Args:
        axes: (J, 3) unit vectors along the joints, in the world.
        points: (J, 3) a point on each axis, in metres.
        tip: (4, 4) pose of the tip.
        reference: (J,) joint angles at which all this holds.
        lower, upper: (J,) joint limits in radians.
    """

    def __init__(
        self,
        axes: np.ndarray,
        points: np.ndarray,
        tip: np.ndarray,
        reference: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        self.axes, self.points, self.tip = axes, points, tip
        self.reference, self.lower, self.upper = reference, lower, upper
        self._crosses = np.stack([_cross_matrix(axis) for axis in axes])
        self._squares = self._crosses @ self._crosses

    @classmethod
    def of_arm(cls, arm: Any) -> SerialChain:
        """Read off a PyRep arm as it stands."""
        frames = np.stack([np.asarray(joint.get_matrix(), float) for joint in arm.joints])
        directions = frames[:, :3, 2]
        _, intervals = arm.get_joint_intervals()
        limits = np.asarray(intervals, float)
        return cls(
            axes=directions / np.linalg.norm(directions, axis=1, keepdims=True),
            points=frames[:, :3, 3],
            tip=np.asarray(arm.get_tip().get_matrix(), float),
            reference=np.asarray(arm.get_joint_positions(), float),
            lower=limits[:, 0],
            upper=limits.sum(axis=1),  # PyRep gives the start and the width.
        )

    def forward(self, joints: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tip pose (4, 4) and geometric Jacobian (6, J), metres and radians per radian, at ``joints`` (J,)."""
        angles = np.asarray(joints, float) - self.reference
        sines, versines = np.sin(angles)[:, None, None], (1.0 - np.cos(angles))[:, None, None]
        turns = np.eye(3) + sines * self._crosses + versines * self._squares
        rotation, shift = np.eye(3), np.zeros(3)
        axes, points = np.empty_like(self.axes), np.empty_like(self.points)
        for j, turn in enumerate(turns):
            axes[j] = rotation @ self.axes[j]
            points[j] = rotation @ self.points[j] + shift
            rotation = rotation @ turn
            shift = points[j] - rotation @ self.points[j]
        pose = np.eye(4)
        pose[:3, :3] = rotation @ self.tip[:3, :3]
        pose[:3, 3] = rotation @ self.tip[:3, 3] + shift
        return pose, np.concatenate([np.cross(axes, pose[:3, 3] - points).T, axes.T])

    def solve(self, start: Sequence[float], target: np.ndarray) -> Solution:
        """Angles near ``start`` (J,) that bring the tip to ``target`` (4, 4), or as near as it gets."""
        joints = np.array(start, float)
        for iteration in range(ITERATIONS + 1):
            pose, jacobian = self.forward(joints)
            shift = target[:3, 3] - pose[:3, 3]
            turn = Rotation.from_matrix(target[:3, :3] @ pose[:3, :3].T).as_rotvec()
            errors = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
            if iteration == ITERATIONS or (errors[0] < CLOSE_ENOUGH[0] and errors[1] < CLOSE_ENOUGH[1]):
                break
            jacobian[3:] *= ROTATION_WEIGHT
            move = self._towards(joints, jacobian, np.concatenate([shift, ROTATION_WEIGHT * turn]))
            move += self._away_from_limits(joints, jacobian)
            joints = np.clip(joints + move, self.lower + LIMIT_EDGE, self.upper - LIMIT_EDGE)
        return Solution(joints, *errors)

    def _towards(self, joints: np.ndarray, jacobian: np.ndarray, error: np.ndarray) -> np.ndarray:
        """The damped step (J,); joints that would run into a limit stay, and the others make up for them."""
        free = np.ones(len(joints), bool)
        for _ in range(3):
            part = jacobian[:, free]
            move = np.zeros(len(joints))
            move[free] = part.T @ np.linalg.solve(part @ part.T + DAMPING * np.eye(6), error)
            move *= min(1.0, MAX_JOINT_MOVE / (np.abs(move).max() + 1e-9))
            ahead = joints + move
            over = (ahead > self.upper - LIMIT_STOP) & (move > 0)
            under = (ahead < self.lower + LIMIT_STOP) & (move < 0)
            blocked = free & (over | under)
            if not blocked.any():
                break
            free &= ~blocked
        return move

    def _away_from_limits(self, joints: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """Motion (J,) away from near limits that leaves the tip where it is."""
        below = np.clip(AVOID_WITHIN - (joints - self.lower), 0.0, None)
        above = np.clip(AVOID_WITHIN - (self.upper - joints), 0.0, None)
        wish = AVOID_GAIN * (below - above)
        if not wish.any():
            return wish
        seen_by_tip = np.linalg.solve(jacobian @ jacobian.T + AVOID_DAMPING * np.eye(6), jacobian @ wish)
        return wish - jacobian.T @ seen_by_tip


def move_tip(scene: Any, chain: SerialChain, displacement: Sequence[float], quaternion: Sequence[float]) -> Move:
    """Move the measured tip by ``displacement`` (3,) metres along the world's axes, and turn it by ``quaternion`` (4,)
    xyzw about them; returns when the joints have arrived, are stuck, or have had their time."""
    arm = scene.robot.arm
    target = pose_matrix(arm.get_tip().get_pose())
    target[:3, 3] += displacement
    target[:3, :3] = Rotation.from_quat(quaternion).as_matrix() @ target[:3, :3]
    solution = chain.solve(arm.get_joint_positions(), target)
    arm.set_joint_target_positions(solution.joints)
    before, steps = None, 0
    while True:
        scene.step()
        steps += 1
        now = np.asarray(arm.get_joint_positions(), float)
        arrived = np.abs(now - solution.joints).max() < REACHED
        stuck = before is not None and np.abs(now - before).max() < STALLED
        if arrived or stuck or steps >= MAX_SIMULATION_STEPS:
            return Move(steps, solution.position_error, solution.rotation_error)
        before = now


def keep_closing(gripper: Any) -> None:
    """Let the finger motors go on closing: a handle that is held slips otherwise."""
    gripper.set_joint_target_velocities([-FINGER_SPEED] * len(gripper.joints))


def pose_matrix(pose: Sequence[float]) -> np.ndarray:
    """Position and quaternion xyzw (7,) -> (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, 3] = pose[:3]
    matrix[:3, :3] = Rotation.from_quat(pose[3:7]).as_matrix()
    return matrix


def _cross_matrix(vector: np.ndarray) -> np.ndarray:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
