"""Scripted experts on the Sawyer table: Metaworld's own policies, and that of the memory tasks."""

import warnings
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.envs.memory import cue_task, return_task
from sfvgen_plan.envs.memory.scene import METRES_PER_ACTION
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.metaworld.snapshots import capture, restore
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.envs.sawyer import LAYOUT

TRAVEL_HEIGHT = 0.14  # of the hand above the table while it moves sideways, metres: a carried object clears all others
GRASP_HEIGHT = 0.065
LAG = 3.5  # raw steps by which the hand trails the mocap body that the actions move: without it the hand overshoots
ALIGNED = 0.025
ARRIVED = 0.02
"""Metres to the side within which the hand may go down on an object, and an object be let go. Tighter bounds would make
a noisy hand, as in training data, hover for ever."""

_OPEN, _GRIPPED = 0.9, 0.73
_ON_PATH = 1e-4
_GAIN = 20.0


class MetaworldExpert(Stateless):
    """Metaworld's policy of one task (an ``EnvAgent``): it reads the true state, never the frame.

    The policies are written for an action every raw step; the first one, held for a whole decision, overshoots and
    grips too early. So the expert looks ahead: it lets the policy play the decision's raw steps, and answers the mean
    of their actions, which moves the hand to the same place. Raises UserError: unknown task.
    """

    def __init__(self, task: str) -> None:
        name = FAMILY.canonical(task)
        import_mujoco()
        from metaworld.policies import ENV_POLICY_MAP  # imports all of Metaworld: only when an expert is played

        policy: Any = ENV_POLICY_MAP[name]
        self._policy = policy()

    def act(self, env: Any) -> np.ndarray:
        return self.act_misled(env, np.zeros_like(env.state))

    def act_misled(self, env: Any, error: np.ndarray) -> np.ndarray:
        """The same if the policy believes that the state is off by ``error`` (39,)."""
        state, moment, actions = env.state, capture(env.raw), []
        for _ in range(env.repeat):
            actions.append(self.act_on_state(state + error))
            state = np.asarray(env.raw.step(actions[-1])[0])
        restore(env.raw, moment)
        return np.mean(actions, axis=0)

    def act_on_state(self, state: np.ndarray) -> np.ndarray:
        """Metaworld's observation with the goal visible (39,) -> action (4,) float32 in [-1, 1]."""
        with warnings.catch_warnings():
            # The policies warn that their gains saturate the action; clipping is what they are meant for.
            warnings.simplefilter("ignore")
            action = self._policy.get_action(state)
        return np.clip(np.asarray(action, dtype=np.float32), -1.0, 1.0)


class MemoryExpert(Stateless):
    """An ``EnvAgent`` without memory: it is told the places and the path.

    In ``memory/return`` it picks the sub-goal's object up, carries it to its place and lets it go; in
    ``memory/revisit`` it follows the path, and steers back to it when it was pushed off; in ``memory/cue`` it goes
    where the sub-goal wants the hand.
    """

    def __init__(self, task: str = return_task.NAME) -> None:
        """The task is known by the environment."""

    def act(self, env: Any) -> np.ndarray:
        if env.task == cue_task.NAME:
            return towards(env.state, env.state[LAYOUT.goal], -1.0)
        return act_on_state(env.state) if env.task == return_task.NAME else follow(env)


def follow(env: Any) -> np.ndarray:
    """The action (4,) float32 that takes the camera of ``memory/revisit`` to the next place of its path."""
    action: np.ndarray = env.path[min(env.decisions, len(env.path) - 1)]
    shift = (env.state[LAYOUT.goal] - env.scene.carrier) / (METRES_PER_ACTION * env.repeat)
    if np.abs(shift[:2] - action[:2]).max() < _ON_PATH and abs(shift[2]) < _ON_PATH:
        return action
    return np.append(np.clip(shift, -1.0, 1.0), action[3]).astype(np.float32)


def act_on_state(state: np.ndarray) -> np.ndarray:
    """Metaworld's layout of numbers (39,) -> action (4,) float32 in [-1, 1]."""
    target, effort = _aim(state[LAYOUT.hand], float(state[3]), state[LAYOUT.object], state[LAYOUT.goal])
    return towards(state, target, effort)


def towards(state: np.ndarray, target: np.ndarray, effort: float) -> np.ndarray:
    """The action (4,) float32 that takes the hand to ``target`` (3,), with the gripper's ``effort``."""
    hand, before = state[LAYOUT.hand], state[LAYOUT.half :][LAYOUT.hand]
    coming = hand + LAG * (hand - before)
    action = np.append(_GAIN * (target - coming), effort)
    return np.clip(action, -1.0, 1.0).astype(np.float32)


def _aim(hand: np.ndarray, opening: float, thing: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, float]:
    """Where the hand should go (3,), and the gripper's effort."""
    above = np.array([thing[0], thing[1], TRAVEL_HEIGHT])
    to_place = np.linalg.norm((place - thing)[:2])
    lifted = thing[2] - place[2]
    if to_place < ARRIVED and lifted < 0.01:
        if opening < _OPEN:
            return hand, -1.0
        return np.array([hand[0], hand[1], TRAVEL_HEIGHT + 0.03]), -1.0
    if np.linalg.norm((hand - thing)[:2]) > 2 * ALIGNED and hand[2] < TRAVEL_HEIGHT - 0.03:
        return np.array([hand[0], hand[1], TRAVEL_HEIGHT]), -1.0
    if np.linalg.norm((hand - thing)[:2]) > ALIGNED and lifted < 0.01 and hand[2] > GRASP_HEIGHT + 0.03:
        return above, -1.0
    if hand[2] - thing[2] > GRASP_HEIGHT - return_task.OBJECT_SIZE / 2 + 0.015:
        return np.array([thing[0], thing[1], GRASP_HEIGHT - 0.01]), -1.0
    if opening > _GRIPPED:
        return hand, 1.0
    if to_place > ARRIVED:
        if hand[2] < TRAVEL_HEIGHT - 0.03:
            return np.array([hand[0], hand[1], TRAVEL_HEIGHT + 0.02]), 1.0
        offset = (hand - thing)[:2]
        return np.append(place[:2] + offset, TRAVEL_HEIGHT), 1.0
    return np.append(place[:2] + (hand - thing)[:2], GRASP_HEIGHT - 0.01), 1.0
