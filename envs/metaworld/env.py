"""Metaworld tasks, seen through a camera and acted on once per decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.decisions import DecisionEnv, check_at_least_one, checked_action
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.metaworld.snapshots import RawSnapshot, capture, restore
from sfvgen_plan.envs.real import observed
from sfvgen_plan.envs.rendering import import_mujoco

_UNLIMITED = 2**31 - 1
_NOT_REWARD_TERMS = frozenset({"success", "unscaled_reward"})


@dataclass(frozen=True)
class MetaworldSnapshot:
    """Where a ``MetaworldEnv`` stood. Opaque and picklable; see ``MetaworldEnv.snapshot``."""

    task: str
    raw: RawSnapshot
    decisions: int
    latched: bool
    state: np.ndarray
    random_state: Mapping[str, Any]


class MetaworldEnv(DecisionEnv):
    """One Metaworld task: a decision is one action held for ``repeat`` raw steps, and leads to one video frame.

    Observation: (size, size, 3) uint8 RGB. Action: (4,) in [-1, 1], the hand's x, y, z displacement (1 cm per raw step
    at 1) and the gripper's closing effort. Reward: mean of the raw rewards, 0 to 10. Never terminates; truncates after
    ``max_decisions``, after which it may still be stepped.

    ``info``: ``state`` (39,) float64, Metaworld's observation with the goal visible; ``estimates`` (10,) float32, the
    true values of what ``sfvgen_plan.envs.sawyer.READOUTS`` lists; ``success`` (solved at any raw step of this
    decision), ``success_latched`` (at any decision so far), ``instruction``, ``reward_terms`` (means of Metaworld's
    own terms; empty after reset).

    Metaworld ignores reset seeds; here the same seed gives the same scene bit for bit, whatever was played before, and
    every seed another goal.

    Args:
        task: a Metaworld v3 task, with or without the "metaworld/" prefix.
        size: height and width of the frames in pixels.
        camera: topview, corner, corner2, corner3, corner4, behindGripper or gripperPOV.
        repeat: raw steps (1/80 s) per decision.
        max_decisions: decisions until truncation.
        render_mode: "rgb_array" or None.
        pixels: False leaves the observation black and starts no renderer, for agents that only read the state.

    Raises:
        UserError: unknown task or camera, a number below 1, no OpenGL library.
    """

    def __init__(
        self,
        task: str,
        size: int = 128,
        camera: str = "corner4",
        repeat: int = 5,
        max_decisions: int = 100,
        render_mode: str | None = "rgb_array",
        pixels: bool = True,
    ) -> None:
        check_at_least_one(size=size, repeat=repeat, max_decisions=max_decisions)
        self.task = FAMILY.canonical(task)
        self.instruction = FAMILY.tasks[self.task]
        self.max_decisions = max_decisions
        self.raw = _make_raw(self.task)
        self._pristine = capture(self.raw)
        super().__init__(self.raw, size, camera, repeat, render_mode, pixels)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. Without a seed, the next scene of the random sequence that the last seed began, which is
        never one that is kept for evaluation."""
        super().reset(seed=seed)
        scene = int(self.np_random.integers(FIRST_TRAINING_SEED, 2**31)) if seed is None else seed
        self._state = _reset_raw(self.raw, self._pristine, scene)
        self._decisions, self._latched, self._frame = 0, False, None
        return self._observe(), self._info(success=False, terms={})

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold ``action`` (4,) for ``repeat`` raw steps; values outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        held = checked_action(action)
        rewards, success, terms = [], False, []
        for _ in range(self.repeat):
            state, reward, _, _, raw_info = self.raw.step(held)
            rewards.append(float(reward))
            success |= bool(raw_info["success"])
            terms.append(raw_info)
        self._state = np.asarray(state)
        self._decisions += 1
        self._latched |= success
        self._frame = None
        means = {
            name: float(np.mean([term[name] for term in terms])) for name in terms[0] if name not in _NOT_REWARD_TERMS
        }
        truncated = self._decisions >= self.max_decisions
        return self._observe(), sum(rewards) / self.repeat, False, truncated, self._info(success, means)

    def snapshot(self) -> MetaworldSnapshot:
        """The exact current moment; picklable, independent of this environment's future."""
        random_state = self.np_random.bit_generator.state
        return MetaworldSnapshot(self.task, capture(self.raw), self._decisions, self._latched, self.state, random_state)

    def restore(self, snapshot: MetaworldSnapshot) -> None:
        """Return to ``snapshot``, which may come from another environment of the same task: what follows is the same
        bit for bit.

        Raises:
            UserError: the snapshot is of another task, or none.
        """
        self._check_snapshot(snapshot, MetaworldSnapshot)
        restore(self.raw, snapshot.raw)
        self.np_random.bit_generator.state = snapshot.random_state
        self._decisions, self._latched = snapshot.decisions, snapshot.latched
        self._state = snapshot.state.copy()
        self._frame = None


def make_metaworld(task: str, **arguments: Any) -> gym.Env[np.ndarray, np.ndarray]:
    """``sfvgen/Metaworld-v0``: a ``MetaworldEnv``, or what a checkpoint makes of its frames; see ``observed``."""
    return observed(MetaworldEnv, task, **arguments)


def _make_raw(task: str) -> Any:
    """Metaworld's own environment with the goal in its observation and seedable scenes."""
    import_mujoco()
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # imports MuJoCo: only after its OpenGL backend is settled

    raw = ALL_V3_ENVIRONMENTS[task]()
    raw._partially_observable = False
    raw._set_task_called = True
    raw.seeded_rand_vec = True
    raw.max_path_length = _UNLIMITED
    # Cached by the constructor while the goal was still hidden; its bounds would clip the goal to zero.
    vars(raw).pop("sawyer_observation_space", None)
    return raw


def _reset_raw(raw: Any, pristine: RawSnapshot, seed: int) -> np.ndarray:
    """Build scene ``seed`` and return its state (39,).

    A first pass draws the scene, a second builds it with that draw frozen, as Metaworld's benchmarks do: the layout is
    written into the model only after the hand was simulated, so a single pass would leave the objects where the last
    scene had them. Starting from ``pristine`` makes the result independent of what was played before.
    """
    mujoco = import_mujoco()
    restore(raw, pristine)
    raw.seed(seed)
    raw._freeze_rand_vec = False
    raw.reset_model()
    raw._freeze_rand_vec = True
    mujoco.mj_resetData(raw.model, raw.data)
    raw.reset_model()
    mujoco.mj_forward(raw.model, raw.data)
    raw.curr_path_length = 0
    current = raw._get_curr_obs_combined_no_goal()
    raw._prev_obs = current
    return np.concatenate([current, current, raw._get_pos_goal()])
