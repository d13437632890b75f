"""Any environment of Gymnasium as a task: frames of the wanted size, actions held for some steps, ``info`` as usual."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from sfvgen_plan.actions import Actions
from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.checks import checked_actions
from sfvgen_plan.envs.decisions import check_at_least_one
from sfvgen_plan.envs.forks import opening
from sfvgen_plan.envs.gym.making import CAMERA, PREFIX, make
from sfvgen_plan.envs.rendering import close_at_exit, gl_backend
from sfvgen_plan.errors import UserError

MOST_NUMBERS = 64
"""Of an observation that is taken for the state."""


class GymEnv(gym.Env[np.ndarray, Any]):
    """One decision is an action of the environment's own space, held for ``repeat`` of its steps.

    Observation: (size, size, 3) uint8, what the environment renders, resized. Reward: the sum over the steps. Ends when
    the environment ends, or is cut off by its own limit or after ``max_decisions``.

    ``info``: ``success`` (the environment's ``is_success`` or ``success``, else False), ``success_latched`` (also as
    ``is_success``), ``estimates`` and ``state`` (its observation, if that is a vector of a few numbers; else empty).

    Args:
        task: "gym:" and the id, which may begin with the module that registers it.
        size: side of the frames in pixels.
        camera: of a MuJoCo environment, by its name; "default" is the environment's own view.
        repeat: steps of a decision.
        max_decisions: decisions until truncation; None: only the environment's own limit.
        pixels: False leaves frames blank, which costs nothing.
        render_mode: "rgb_array" or None.

    Raises:
        UserError: the environment can't be made, has other actions, or has no such camera.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(
        self,
        task: str,
        size: int = 64,
        camera: str = CAMERA,
        repeat: int = 1,
        max_decisions: int | None = None,
        pixels: bool = True,
        render_mode: str | None = "rgb_array",
    ) -> None:
        check_at_least_one(size=size, repeat=repeat, max_decisions=1 if max_decisions is None else max_decisions)
        self.task, self.size, self.camera, self.repeat = task, size, camera, repeat
        self.max_decisions, self.pixels, self.render_mode = max_decisions, pixels, render_mode
        if pixels or render_mode:
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, and no words about a missing display
            with suppress(UserError):  # most environments draw without OpenGL
                gl_backend()
        self.own = make(task, camera, "rgb_array")
        self._stays_open: Callable[[], None] | None = None
        self.instruction = instruction(task)
        self.actions = Actions(self.own.action_space)
        self.action_space = self.actions.space
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.metadata = {**self.metadata, "render_fps": max(1, steps_per_second(self.own) // repeat)}
        self.observation: Any = None
        self.decisions, self._latched = 0, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. The same seed gives the same one; without a seed, the next of the random sequence that the
        last seed began, which is never one that is kept for evaluation."""
        super().reset(seed=seed)
        scene = int(self.np_random.integers(FIRST_TRAINING_SEED, 2**31)) if seed is None else seed
        self.observation, _ = self.own.reset(seed=scene, options=options)
        self.decisions, self._latched = 0, False
        return self._frame(self.pixels), self._info(success=False)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold ``action``, of the environment's own space; numbers beyond its bounds are clipped.

        Raises:
            UserError: wrong shape, a number that is not finite, or none of the discrete actions.
        """
        if self.observation is None:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        held = self.actions.outside(checked_actions(action, self.actions))
        total, success, terminated, truncated = 0.0, False, False, False
        for _ in range(self.repeat):
            self.observation, reward, terminated, truncated, told = self.own.step(held)
            total += float(reward)
            success |= bool(told.get("is_success", told.get("success", False)))
            if terminated or truncated:
                break
        self.decisions += 1
        self._latched |= success
        truncated = bool(truncated) or (self.max_decisions is not None and self.decisions >= self.max_decisions)
        return self._frame(self.pixels), total, bool(terminated), truncated, self._info(success)

    def replay(self, seed: int, actions: Sequence[Any]) -> None:
        """Go to where ``actions`` lead from the scene of ``seed``. Nothing is drawn on the way."""
        drawn, self.pixels = self.pixels, False
        try:
            self.reset(seed=seed)
            for action in actions:
                self.step(action)
        finally:
            self.pixels = drawn

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self._frame(True) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the environment."""
        if self._stays_open:
            atexit.unregister(self._stays_open)
        self.own.close()

    def __reduce__(self) -> Any:
        """Raises: UserError."""
        raise UserError(
            f"task={self.task!r}: an environment with a picture can't be copied; make another one and reset it with "
            "the same seed"
        )

    def _frame(self, wanted: bool) -> np.ndarray:
        if not wanted:
            return np.zeros((self.size, self.size, 3), np.uint8)
        opens = self._stays_open is None and "OpenGL" in sys.modules  # which is loaded by what draws with it
        if opens:
            opening("an OpenGL context")
        drawn: Any = self.own.render()
        if opens:
            self._stays_open = close_at_exit(self)
        if not isinstance(drawn, np.ndarray) or drawn.dtype != np.uint8 or drawn.ndim != 3 or drawn.shape[2] != 3:
            raise UserError(f"task={self.task!r} renders no frames (H, W, 3) uint8; mend its render()")
        # The mean of the pixels that fall into one: thin lines stay.
        return np.asarray(Image.fromarray(drawn).resize((self.size, self.size), Image.Resampling.BOX))

    def _info(self, success: bool) -> dict[str, Any]:
        state = np.zeros(0)
        if numbers_of(self.own.observation_space):
            state = np.asarray(self.observation, np.float64).ravel()
        return {
            "success": success,
            "success_latched": self._latched,
            "is_success": self._latched,  # as Stable-Baselines3 calls it
            "state": state,
            "estimates": state.astype(np.float32),
        }


def numbers_of(space: gym.Space[Any]) -> int:
    """How many numbers of the state an observation of the space tells."""
    box = isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
    count = int(np.prod(space.shape or ())) if box else 0
    return count if count <= MOST_NUMBERS else 0


def steps_per_second(env: gym.Env[Any, Any]) -> int:
    """Of an environment, for videos."""
    return int(env.metadata.get("render_fps") or 30)


def instruction(task: str) -> str:
    """What is to be done in a task."""
    return f"play {task.removeprefix(PREFIX).rpartition(':')[2]}"
