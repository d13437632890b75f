"""The scripted expert of ``rlbench/return``: it is told the places, and picks and places object after object."""

import numpy as np

from sfvgen_plan.agents.base import EnvAgent, Stateless
from sfvgen_plan.agents.rlbench_demos import DemonstratedExpert, step_towards
from sfvgen_plan.envs.rlbench.family import is_made
from sfvgen_plan.envs.rlbench.return_env import RLBenchReturnEnv

TRAVEL = 0.12
"""Metres between an object's centre at rest and the tip while it moves sideways: what it carries clears the others."""
ALIGNED, ARRIVED, REACHED = 0.015, 0.02, 0.012
"""Metres: to the side, before the tip goes down; from object to place; from the tip to where it grasps."""


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
    near = bool(np.linalg.norm(tip - thing) < 2 * REACHED)
    there = bool(np.linalg.norm(thing[:2] - place[:2]) < ARRIVED)
    if not opened and near:  # held
        if there:
            low = tip[2] < rest + REACHED
            return np.append(place[:2], rest), bool(low)
        if np.linalg.norm(tip[:2] - place[:2]) > ALIGNED and tip[2] < over[2] - ALIGNED:
            return over + np.append(tip[:2], 0.0), False
        return over + np.append(place[:2], 0.0), False
    if there:  # and let go: out of the way
        return over + np.append(tip[:2], 0.0), True
    if np.linalg.norm(tip[:2] - thing[:2]) > ALIGNED:
        away = tip[2] < over[2] - ALIGNED
        return over + np.append((tip if away else thing)[:2], 0.0), True
    grasped = opened and bool(np.linalg.norm(tip - thing) < REACHED)
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
