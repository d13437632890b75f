"""What the environments on MuJoCo share: a decision held for several raw steps, its frame, and what ``info`` says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.rendering import FrameRenderer, check_camera, gl_backend
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


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where an environment stood. Opaque and picklable."""

    task: str
    simulation: Any
    decisions: int
    latched: bool
    state: np.ndarray
    random_state: Mapping[str, Any]


class DecisionEnv(gym.Env[np.ndarray, np.ndarray]):
    """One decision is one action (4,) held for ``repeat`` raw steps (1/80 s), and leads to one video frame.

    See ``MetaworldEnv`` for the spaces and for what ``info`` always has. Copies and pickles are snapshots: they go on
    exactly like the original.

    Subclasses set ``task`` and ``instruction``, and give the methods at the end.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention
    task: str
    instruction: str
    terms: tuple[str, ...] = ()
    """Names of the reward's parts, of which ``info`` has the means."""

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **settings: Any) -> DecisionEnv:
        """Also notes how to make another one."""
        env = super().__new__(cls)
        env._made_with = arguments, settings
        return env

    def __init__(
        self, simulation: Simulation, size: int, camera: str, repeat: int, render_mode: str | None, pixels: bool
    ) -> None:
        check_at_least_one(size=size, repeat=repeat)
        check_camera(simulation.model, camera)
        if pixels:
            gl_backend()
        self.size, self.camera, self.repeat = size, camera, repeat
        self.pixels, self.render_mode = pixels, render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, RAW_STEPS_PER_SECOND // repeat)}
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self._simulation = simulation
        # Made for the first frame: an environment that is only asked for its spaces opens no graphics.
        self._renderer: FrameRenderer | None = None
        self._frame: np.ndarray | None = None
        self._state = np.zeros(STATE_SIZE)
        self._decisions, self._latched = 0, False

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

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. The same seed gives the same one, whatever was played before; without a seed, the next of
        the random sequence that the last seed began, which is never one that is kept for evaluation."""
        super().reset(seed=seed)
        scene = int(self.np_random.integers(FIRST_TRAINING_SEED, 2**31)) if seed is None else seed
        self._decisions, self._latched, self._frame = 0, False, None
        self._state = self._build(scene)
        return self._observe(), self._info(success=False, terms=dict.fromkeys(self.terms, 0.0))

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold ``action`` (4,) for ``repeat`` raw steps; values outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        held = checked_action(action)
        rewards, success, terms = [], False, []
        for raw_step in range(self.repeat):
            reward, solved, parts = self._advance(held, raw_step == self.repeat - 1)
            rewards.append(reward)
            success |= solved
            terms.append(parts)
        self._decisions += 1
        self._latched |= success
        self._frame = None
        self._state = self._numbers()
        means = {name: float(np.mean([parts[name] for parts in terms])) for name in self.terms}
        truncated = self._decisions >= self.length
        return self._observe(), sum(rewards) / self.repeat, False, truncated, self._info(success, means)

    def snapshot(self) -> Snapshot:
        """The exact current moment; picklable, independent of this environment's future."""
        random_state = self.np_random.bit_generator.state
        return Snapshot(self.task, self._capture(), self._decisions, self._latched, self.state, random_state)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to ``snapshot``, which may come from another environment of the same task: what follows is the same
        bit for bit.

        Raises:
            UserError: the snapshot is of another task, or none.
        """
        if not isinstance(snapshot, Snapshot):
            raise UserError(f"snapshot is of type {type(snapshot).__name__}; give what snapshot() returned")
        if snapshot.task != self.task:
            raise UserError(
                f"snapshot is of task {snapshot.task!r}, not {self.task!r}; restore it in an environment of its task"
            )
        self._recall(snapshot.simulation)
        self.np_random.bit_generator.state = snapshot.random_state
        self._decisions, self._latched = snapshot.decisions, snapshot.latched
        self._state, self._frame = snapshot.state.copy(), None

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self._picture().copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``copy`` and ``pickle``."""
        return _made_again, (type(self), self._made_with, self.snapshot())

    def _observe(self) -> np.ndarray:
        return self._picture().copy() if self.pixels else np.zeros((self.size, self.size, 3), np.uint8)

    def _picture(self) -> np.ndarray:
        if self._frame is None:
            if self._renderer is None:
                self._renderer = FrameRenderer(self._simulation.model, self.size, self.camera)
            self._frame = self._renderer.render(self._simulation.data)
        return self._frame

    def _info(self, success: bool, terms: dict[str, float]) -> dict[str, Any]:
        """The same keys, types and shapes after ``reset`` and ``step``, in every scene."""
        return {
            "success": success,
            "success_latched": self._latched,
            "is_success": self._latched,  # as Stable-Baselines3 calls it
            "state": self.state,
            "estimates": self.estimates,
            "reward_terms": terms,
        }

    @property
    @abstractmethod
    def length(self) -> int:
        """Decisions until truncation."""

    @abstractmethod
    def _build(self, seed: int) -> np.ndarray:
        """Put the simulation into scene ``seed``; the state there (39,)."""

    @abstractmethod
    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool, Mapping[str, Any]]:
        """One raw step, ``last`` of its decision: reward, whether the task is solved now, the reward's parts."""

    @abstractmethod
    def _numbers(self) -> np.ndarray:
        """The state (39,) once a decision is over."""

    @abstractmethod
    def _capture(self) -> Any:
        """The simulation's exact moment, as a picklable value."""

    @abstractmethod
    def _recall(self, captured: Any) -> None:
        """The inverse of ``_capture``."""


def _made_again(
    kind: type[DecisionEnv], made_with: tuple[tuple[Any, ...], dict[str, Any]], snapshot: Snapshot
) -> DecisionEnv:
    env = kind(*made_with[0], **made_with[1])
    env.restore(snapshot)
    return env


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
