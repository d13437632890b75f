"""What the environments on MuJoCo share: a decision held for several raw steps, its frame, and what ``info`` says."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.rendering import FrameRenderer
from sfvgen_plan.envs.sawyer import ACTION_SIZE, RAW_STEPS_PER_SECOND, STATE_SIZE, estimates_of
from sfvgen_plan.errors import UserError


class Simulation(Protocol):
    """What a frame is drawn from."""

    @property
    def model(self) -> Any:
        """``mujoco.MjModel``."""

    @property
    def data(self) -> Any:
        """``mujoco.MjData``."""


class DecisionEnv(gym.Env[np.ndarray, np.ndarray]):
    """One decision is one action (4,) held for ``repeat`` raw steps (1/80 s), and leads to one video frame.

    Subclasses set ``task`` and ``instruction``, keep ``_state`` and write ``reset`` and ``step``. See ``MetaworldEnv``
    for the spaces and for what ``info`` always has.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention
    task: str
    instruction: str

    def __init__(
        self, simulation: Simulation, size: int, camera: str, repeat: int, render_mode: str | None, pixels: bool
    ) -> None:
        self.size, self.camera, self.repeat = size, camera, repeat
        self.pixels, self.render_mode = pixels, render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, RAW_STEPS_PER_SECOND // repeat)}
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self._simulation = simulation
        self._renderer: FrameRenderer | None = FrameRenderer(simulation.model, size, camera) if pixels else None
        self._frame: np.ndarray | None = None
        self._state = np.zeros(STATE_SIZE)
        self._decisions = 0
        self._latched = False

    @property
    def state(self) -> np.ndarray:
        """Metaworld's layout of numbers: twice hand, gripper, two objects with quaternions (now, one raw step
        earlier), then the goal; (39,) float64, a copy."""
        return self._state.copy()

    @property
    def estimates(self) -> np.ndarray:
        """True values of ``sawyer.READOUTS``: hand xyz, gripper opening, object xyz, goal xyz; (10,) float32."""
        return estimates_of(self._state)

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return self._decisions

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self._picture().copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _observe(self) -> np.ndarray:
        return self._picture().copy() if self.pixels else np.zeros((self.size, self.size, 3), np.uint8)

    def _picture(self) -> np.ndarray:
        if self._frame is None:
            if self._renderer is None:
                self._renderer = FrameRenderer(self._simulation.model, self.size, self.camera)
            self._frame = self._renderer.render(self._simulation.data)
        return self._frame

    def _info(self, success: bool, terms: dict[str, float]) -> dict[str, Any]:
        return {
            "success": success,
            "success_latched": self._latched,
            "state": self.state,
            "estimates": self.estimates,
            "instruction": self.instruction,
            "reward_terms": terms,
        }

    def _check_snapshot(self, snapshot: Any, kind: type[Any]) -> None:
        if not isinstance(snapshot, kind):
            raise UserError(
                f"snapshot is of type {type(snapshot).__name__}, not {kind.__name__}; give what snapshot() returned"
            )
        if snapshot.task != self.task:
            raise UserError(
                f"snapshot is of task {snapshot.task!r}, not {self.task!r}; restore it in an environment of its task"
            )


def check_at_least_one(**numbers: int) -> None:
    """Refuse numbers below 1, and what is no whole number.

    Raises:
        UserError: names the first of them.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise UserError(f"{name}={value!r} is no whole number; give at least 1")
        if value < 1:
            raise UserError(f"{name}={value} is too small; give at least 1")


def as_numbers(action: Any) -> np.ndarray:
    """A float32 copy of an action, or of several, of any shape.

    Raises:
        UserError: it is not made of numbers, or of rows of different lengths.
    """
    try:
        return np.array(action, dtype=np.float32)
    except (TypeError, ValueError):
        text = repr(action)
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise UserError(f"action={shown} is no array of numbers; give values in [-1, 1]") from None


def checked_action(action: np.ndarray) -> np.ndarray:
    """``action`` (4,) as float32, clipped to [-1, 1].

    Raises:
        UserError: wrong shape, or a number that is not finite.
    """
    values = as_numbers(action)
    if values.shape != (ACTION_SIZE,):
        raise UserError(f"action has shape {values.shape}; give ({ACTION_SIZE},): x, y, z, gripper")
    if not np.isfinite(values).all():
        raise UserError(f"action={values.tolist()} has a number that is not finite; give values in [-1, 1]")
    return np.clip(values, -1.0, 1.0)
