"""Metaworld tasks, seen through a camera and acted on once per decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv, check_at_least_one
from sfvgen_plan.envs.metaworld.family import FAMILY
from sfvgen_plan.envs.metaworld.snapshots import RawSnapshot, capture, restore
from sfvgen_plan.envs.real import observed
from sfvgen_plan.envs.rendering import import_mujoco

_UNLIMITED = 2**31 - 1
_NOT_REWARD_TERMS = frozenset({"success", "unscaled_reward"})


class MetaworldEnv(DecisionEnv):
    """One Metaworld task: a decision is one action held for ``repeat`` raw steps, and leads to one video frame.

    Observation: (size, size, 3) uint8 RGB. Action: (4,) in [-1, 1], the hand's x, y, z displacement (1 cm per raw step
    at 1) and the gripper's closing effort. Reward: mean of the raw rewards, 0 to 10. Never terminates; truncates after
    ``max_decisions``, after which it may still be stepped.

    ``info``: ``state`` (39,) float64, Metaworld's observation with the goal visible; ``estimates`` (10,) float32, the
    true values of what ``sfvgen_plan.envs.sawyer.READOUTS`` lists; ``success`` (solved at any raw step of this
    decision), ``success_latched`` (at any decision so far, also as ``is_success``), ``reward_terms`` (means
    of Metaworld's own terms; zeros after reset).

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
        check_at_least_one(max_decisions=max_decisions)
        self.task = FAMILY.canonical(task)
        self.instruction = FAMILY.tasks[self.task]
        self.max_decisions = max_decisions
        self.raw = _make_raw(self.task)
        self._pristine = capture(self.raw)
        super().__init__(self.raw, size, camera, repeat, render_mode, pixels)
        self._build(0)
        self.terms = tuple(name for name in self.raw.step(np.zeros(4))[4] if name not in _NOT_REWARD_TERMS)
        restore(self.raw, self._pristine)

    @property
    def length(self) -> int:
        """Decisions until truncation."""
        return self.max_decisions

    def _build(self, seed: int) -> np.ndarray:
        return _reset_raw(self.raw, self._pristine, seed)

    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool, Mapping[str, Any]]:
        state, reward, _, _, info = self.raw.step(action)
        self._observed = np.asarray(state)
        return float(reward), bool(info["success"]), info

    def _numbers(self) -> np.ndarray:
        return self._observed

    def _capture(self) -> RawSnapshot:
        return capture(self.raw)

    def _recall(self, captured: RawSnapshot) -> None:
        restore(self.raw, captured)


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
