"""Experts of RLBench: one follows RLBench's own demonstrations through the small steps of ``sfvgen/RLBench-v0``, and
that of ``rlbench/return`` is told the places, and picks and places object after object.

RLBench solves a scene once with its motion planner; the path of the tip is then followed closed loop, so that what is
recorded was really executed through the action that agents use. The follower does not watch the objects: where one was
dropped or knocked away, its advice is no solution any more.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from sfvgen_plan.agents.base import EnvAgent, Stateless
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.family import MAX_DISPLACEMENT, MAX_TURN, is_made
from sfvgen_plan.envs.rlbench.return_env import RLBenchReturnEnv
from sfvgen_plan.errors import SimulatorError

SLOW_WHILE_CLOSED = {"rlbench/open_drawer": 0.5}
"""Largest share of a full step while the gripper is closed: a drawer's handle slips out of a faster hand."""

CAREFUL_WITHIN, LEAST_NOISE = 0.08, 0.1
"""Metres from a gripper change within which the noise shrinks, and the share of it that always stays."""

PASSED, ARRIVED = (0.03, 0.3), (0.006, 0.05)
"""Metres and radians: a point of the path is done when the tip is this near; a stop wants it nearer."""
PASSING, STOPPING = 2, 5
"""Decisions for such points; what can't be reached by then, because of contact for instance, is left."""
OVERSHOOT, OVERSHOOT_STEPS = 0.03, 3
"""Metres beyond the end of the path, if success has not come, and the decisions for it."""
LINGER = 9  # decisions that an episode goes on after the end of the path

ATTEMPTS, STRIDE = 10, 10_000_000
"""For a seed that RLBench finds no solution of, the seeds ``STRIDE`` apart are tried, so many of them."""

TRAVEL = 0.12
"""Metres between an object's centre at rest and the tip while it moves sideways: what it carries clears the others."""
ABOVE, PUT_BACK, GRASPED = 0.015, 0.02, 0.012
"""Metres: to the side, before the tip goes down; from object to place; from the tip to where it grasps."""


class Waypoint(NamedTuple):
    """Pose (7,), gripper (1 open) once it is reached, and whether it has to be reached closely."""

    pose: np.ndarray
    gripper: float
    stop: bool


class DemoFollower:
    """Proposes the action that follows a demonstration, tip poses (T, 7) of position and quaternion xyzw with its
    gripper (T,), 1 open, from wherever the tip is. ``while_closed``: largest share of a full step, in (0, 1], while the
    gripper is closed."""

    def __init__(self, poses: np.ndarray, opening: np.ndarray, while_closed: float = 1.0) -> None:
        self._while_closed = while_closed
        self.waypoints = waypoints(poses, opening, while_closed)
        self._first_gripper = float(opening[0])
        direction = poses[-1, :3] - self.waypoints[max(0, len(self.waypoints) - 3)].pose[:3]
        length = float(np.linalg.norm(direction))
        self._beyond = OVERSHOOT * direction / length if length > 1e-3 else np.zeros(3)
        self._next, self._tries, self.decisions_after = 0, 0, 0

    @property
    def finished(self) -> bool:
        """Whether the end of the path was reached."""
        return self._next >= len(self.waypoints)

    def act(self, pose: np.ndarray) -> np.ndarray:
        """Measured tip pose (7,) -> action (7,) float32 in [-1, 1]; to be asked once per decision."""
        while not self.finished and self._done(pose, self.waypoints[self._next]):
            arrived = self.waypoints[self._next]
            self._next, self._tries = self._next + 1, 0
            if arrived.stop and not self.finished:
                return self._step(pose, arrived.pose, arrived.gripper)  # The gripper acts before the arm goes on.
        if self.finished:
            return self._past_the_end(pose)
        self._tries += 1
        gripper = self.waypoints[self._next - 1].gripper if self._next else self._first_gripper
        return self._step(pose, self.waypoints[self._next].pose, gripper)

    def distance_to_change(self, pose: np.ndarray) -> float:
        """Metres from the tip (7,) to the nearest place where the gripper changes; infinite without one."""
        grippers = [self._first_gripper, *(point.gripper for point in self.waypoints)]
        places = [
            point.pose[:3] for before, point in zip(grippers, self.waypoints, strict=False) if point.gripper != before
        ]
        return min((float(np.linalg.norm(pose[:3] - place)) for place in places), default=float("inf"))

    def _done(self, pose: np.ndarray, point: Waypoint) -> bool:
        near, patience = (ARRIVED, STOPPING) if point.stop else (PASSED, PASSING)
        shift, turn = difference(pose, point.pose)
        if self._tries >= patience or (np.linalg.norm(shift) < near[0] and np.linalg.norm(turn) < near[1]):
            return True
        if point.stop:
            return False
        # Noise has led past a point if the one after it is nearer; the last point is a stop, so there is one.
        ahead = self.waypoints[self._next + 1].pose[:3]
        return bool(np.linalg.norm(ahead - pose[:3]) < np.linalg.norm(shift))

    def _past_the_end(self, pose: np.ndarray) -> np.ndarray:
        self.decisions_after += 1
        end = self.waypoints[-1].pose.copy()
        end[:3] += self._beyond * min(1.0, self.decisions_after / OVERSHOOT_STEPS)
        return self._step(pose, end, self.waypoints[-1].gripper)

    def _step(self, pose: np.ndarray, target: np.ndarray, gripper: float) -> np.ndarray:
        return step_towards(pose, target, gripper, 1.0 if gripper > 0.5 else self._while_closed)


class DemonstratedExpert(Stateless):
    """Follows RLBench's own solution of the scene. An ``EnvAgent``; its first action takes as long as the solving."""

    def reset(self, task: str, seed: int) -> None:
        self._task, self.scene = task, seed
        self._follower: DemoFollower | None = None

    def begin(self, env: RLBenchEnv) -> tuple[np.ndarray, dict[str, Any]]:
        """Have RLBench solve the scene, or another one; what a reset returns. Raises SimulatorError: it solves none."""
        first = self.scene
        for self.scene in range(first, first + ATTEMPTS * STRIDE, STRIDE):
            if (started := self._solve(env)) is not None:
                return started
        raise SimulatorError(f"RLBench solves none of {ATTEMPTS} scenes of {self._task}, the first {first}")

    def act(self, env: RLBenchEnv) -> np.ndarray:
        """The unwrapped environment -> action (7,) float32 in [-1, 1]. Raises SimulatorError: there is no solution."""
        if self._follower is None and self._solve(env) is None:  # which leaves it in the same scene, as after a reset
            raise SimulatorError(f"RLBench does not solve scene {self.scene} of {env.task}")
        assert self._follower is not None
        return self._follower.act(env.state[:7])

    def noise_share(self, env: RLBenchEnv) -> np.ndarray:
        """(7,): less noise near a gripper change, none on the gripper."""
        assert self._follower is not None
        near = self._follower.distance_to_change(env.state[:7]) / CAREFUL_WITHIN
        return np.append(np.full(6, np.clip(near, LEAST_NOISE, 1.0)), 0.0)

    @property
    def lost(self) -> bool:
        """Whether the end of the path was reached some decisions ago."""
        return self._follower is not None and self._follower.decisions_after > LINGER

    def _solve(self, env: RLBenchEnv) -> tuple[np.ndarray, dict[str, Any]] | None:
        """What a reset to the scene returns; None if RLBench finds no solution."""
        found = env.demonstrate(self.scene)
        if found is None:
            return None
        poses, opening = found[2:]
        self._follower = DemoFollower(poses, opening, SLOW_WHILE_CLOSED.get(env.task, 1.0))
        return found[:2]


def waypoints(poses: np.ndarray, opening: np.ndarray, while_closed: float = 1.0) -> list[Waypoint]:
    """Thin out a demonstration (T, 7), (T,): points at most a full step apart, or that share of one where the gripper
    is closed; all its stops and gripper changes."""
    points: list[Waypoint] = []
    last = poses[0]
    for t in range(1, len(poses)):
        end = t == len(poses) - 1
        change = not end and opening[t + 1] != opening[t]
        resting = not end and t > 1 and _rests(poses[t - 1], poses[t]) and not _rests(poses[t - 2], poses[t - 1])
        moved = difference(last, poses[t])[0]
        if not end:
            ahead, turn_ahead = difference(last, poses[t + 1])
            share = 1.0 if opening[t] > 0.5 else while_closed
            far = np.abs(ahead).max() > share * MAX_DISPLACEMENT or np.abs(turn_ahead).max() > share * MAX_TURN
        if end or change or far or (resting and np.linalg.norm(moved) > ARRIVED[0]):
            stop = bool(end or change or resting)
            points.append(Waypoint(poses[t], float(opening[min(t + 1, len(poses) - 1)]), stop))
            last = poses[t]
    return points or [Waypoint(poses[-1], float(opening[-1]), True)]


def step_towards(pose: np.ndarray, target: np.ndarray, gripper: float, share: float = 1.0) -> np.ndarray:
    """The action (7,) float32 that leads from one pose (7,) straight towards another, as far as ``share`` of a full
    step goes."""
    shift, turn = difference(pose, target)
    shift, turn = shift / (share * MAX_DISPLACEMENT), turn / (share * MAX_TURN)
    motion = share * np.concatenate([shift / max(1.0, np.abs(shift).max()), turn / max(1.0, np.abs(turn).max())])
    return np.append(motion, 1.0 if gripper > 0.5 else -1.0).astype(np.float32)


def difference(pose: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement (3,) in metres and rotation vector (3,) in radians, in the world, from one pose (7,) to another."""
    turn = Rotation.from_quat(target[3:]) * Rotation.from_quat(pose[3:]).inv()
    return target[:3] - pose[:3], turn.as_rotvec()


def _rests(before: np.ndarray, after: np.ndarray) -> bool:
    return bool(np.linalg.norm(after[:3] - before[:3]) < 1e-3)


class ReturnExpert(Stateless):
    """An ``EnvAgent`` without memory: everything follows from where things are now."""

    def act(self, env: RLBenchReturnEnv) -> np.ndarray:
        goal = env.sub_goal
        return act_on_places(env.state, env.positions()[goal.index], goal.place)


def rlbench_expert(task: str) -> EnvAgent:
    """The expert of a task that is made on RLBench's table; of all others RLBench's own demonstrations."""
    return ReturnExpert() if is_made(task) else DemonstratedExpert()


def act_on_places(state: np.ndarray, thing: np.ndarray, place: np.ndarray) -> np.ndarray:
    """``rlbench_state`` (143,), the object's place and where it has to go (3,) -> action (7,) float32 in [-1, 1]."""
    target, opened = _aim(state[:3], bool(state[7] > 0.5), thing, place)
    return step_towards(state[:7], np.concatenate([target, downwards(state[3:7], float(state[14]))]), float(opened))


def _aim(tip: np.ndarray, opened: bool, thing: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where the tip should go (3,), and whether the gripper should be open."""
    rest = float(place[2])
    over = np.array([0.0, 0.0, rest + TRAVEL])
    near = bool(np.linalg.norm(tip - thing) < 2 * GRASPED)
    there = bool(np.linalg.norm(thing[:2] - place[:2]) < PUT_BACK)
    if not opened and near:  # held
        if there:
            low = tip[2] < rest + GRASPED
            return np.append(place[:2], rest), bool(low)
        if np.linalg.norm(tip[:2] - place[:2]) > ABOVE and tip[2] < over[2] - ABOVE:
            return over + np.append(tip[:2], 0.0), False
        return over + np.append(place[:2], 0.0), False
    if there:  # and let go: out of the way
        return over + np.append(tip[:2], 0.0), True
    if np.linalg.norm(tip[:2] - thing[:2]) > ABOVE:
        away = tip[2] < over[2] - ABOVE
        return over + np.append((tip if away else thing)[:2], 0.0), True
    grasped = opened and bool(np.linalg.norm(tip - thing) < GRASPED)
    return np.append(thing[:2], rest), not grasped


def downwards(quaternion: np.ndarray, last_joint: float) -> np.ndarray:
    """Quaternion xyzw (4,) of a tip that points down, its fingers along the sides of a cube.

    A cube has four such; the one is taken that leaves the last joint, now at ``last_joint`` radians, farthest from its
    limits: the others may lie beyond them once the elbow has drifted.
    """
    x, y, z, w = quaternion
    heading = np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))  # of the tip's x axis
    quarters = np.arange(4) * np.pi / 2
    # The joint turns about an axis that points down.
    turns = (quarters - heading + np.pi) % (2 * np.pi) - np.pi
    half = quarters[np.abs(last_joint - turns).argmin()] / 2
    return np.array([np.cos(half), np.sin(half), 0.0, 0.0])
