"""What all real environments have in common: a decision held for several steps of the simulator, its frame, the latch
of success, and what ``info`` says; and what environments, real and imagined, refuse."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.cameras import frame_shape
from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.errors import UserError, unknown_name

RESET_OPTIONS = ("frames",)


class DecisionEnv(gym.Env[np.ndarray, Any]):
    """A task of a simulator: one decision is one action, and leads to one video frame. Raises UserError: a number below
    1.

    Observation: (size, size, 3) uint8 RGB; of several cameras the pictures lie one above the other. The same seed gives
    the same episode bit for bit, whatever was played before. Truncates after ``length`` decisions, after which it may
    still be stepped.

    ``info`` has the same keys, types and shapes after ``reset`` and ``step``, in every episode: ``success`` (solved at
    this decision), ``success_latched`` (at any decision so far; also as ``is_success``), ``state`` (S,) float64, the
    simulator's own numbers, and ``estimates`` (D,) float32, the true values of what the family's ``source.readouts``
    name.

    Subclasses set ``instruction``, and give the methods at the end.

    Args:
        task: its full name.
        action_space: what ``step`` takes; numbers beyond its bounds are clipped.
        per_second: the simulator's steps in a second, for videos.
        size: height and width of a picture in pixels.
        camera: its name, or several, such as "front+wrist".
        repeat: the simulator's steps per decision.
        max_decisions: decisions until truncation; None: as many as the task has.
        render_mode: "rgb_array" or None.
        pixels: False leaves the observation black and starts no renderer, for agents that only read the state.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention
    instruction: str

    def __init__(
        self,
        task: str,
        action_space: gym.Space[Any],
        per_second: int,
        size: int = 128,
        camera: str = "",
        repeat: int = 1,
        max_decisions: int | None = None,
        render_mode: str | None = "rgb_array",
        pixels: bool = True,
    ) -> None:
        check_at_least_one(size=size, repeat=repeat, max_decisions=1 if max_decisions is None else max_decisions)
        self.task, self.size, self.camera, self.repeat = task, size, camera, repeat
        self.max_decisions, self.render_mode, self.pixels = max_decisions, render_mode, pixels
        self.actions = Actions(action_space)
        self.action_space = action_space
        self.observation_space = gym.spaces.Box(0, 255, frame_shape(size, camera), np.uint8)
        self.metadata = {**self.metadata, "render_fps": max(1, per_second // repeat)}
        self._decisions, self._latched, self._begun = 0, False, False
        self._frame: np.ndarray | None = None

    @property
    def length(self) -> int | None:
        """Decisions until truncation; None where only the task itself ends."""
        return self.max_decisions

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return self._decisions

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. Without a seed, the next of the random sequence that the last seed began, which is never
        one that is kept for evaluation."""
        super().reset(seed=seed)
        scene = int(self.np_random.integers(FIRST_TRAINING_SEED, 2**31)) if seed is None else seed
        return self._started(scene, options or {})

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Take one decision. Raises UserError: an action of another shape, a number that is not finite, or none of the
        discrete actions; gymnasium.error.ResetNeeded: no episode was started."""
        if not self._begun:
            raise gym.error.ResetNeeded("no episode yet; call reset first")
        reward, success, terminated, truncated = self._play(checked_actions(action, self.actions))
        self._decisions += 1
        self._latched |= success
        self._frame = None
        truncated |= self.length is not None and self._decisions >= self.length
        return self._observe(), reward, terminated, truncated, self._info(success)

    def render(self) -> np.ndarray | None:
        """The current frame, uint8; None without a render mode."""
        return self._picture().copy() if self.render_mode == "rgb_array" else None

    def __reduce__(self) -> Any:
        """Raises: UserError, unless a subclass can do better."""
        raise UserError(
            f"task={self.task!r}: its simulator can't be copied; make another environment and reset it with the same "
            "seed"
        )

    def _started(self, scene: int, options: dict[str, Any]) -> tuple[np.ndarray, dict]:
        """The first observation and info of an episode."""
        self._decisions, self._latched, self._begun, self._frame = 0, False, False, None
        self._build(scene, options)
        self._begun = True
        return self._observe(), self._info(success=False)

    def _observe(self) -> np.ndarray:
        return self._picture().copy() if self.pixels else np.zeros(self.observation_space.shape or (), np.uint8)

    def _picture(self) -> np.ndarray:
        if self._frame is None:
            self._frame = self._draw()
        return self._frame

    def _info(self, success: bool) -> dict[str, Any]:
        return {
            "success": success,
            "success_latched": self._latched,
            "is_success": self._latched,  # as Stable-Baselines3 calls it
            "state": self.state,
            "estimates": self.estimates,
        }

    @property
    @abstractmethod
    def state(self) -> np.ndarray:
        """The simulator's numbers now: (S,) float64, a copy."""

    @property
    @abstractmethod
    def estimates(self) -> np.ndarray:
        """True values of the family's read-outs: (D,) float32."""

    @abstractmethod
    def _build(self, scene: int, options: dict[str, Any]) -> None:
        """Put the simulator into the start of an episode."""

    @abstractmethod
    def _play(self, action: np.ndarray) -> tuple[float, bool, bool, bool]:
        """A decision, the action as a vector (A,) in [-1, 1]: reward, whether the task is solved now, whether it has
        ended by itself, and whether it was cut off by a limit of its own."""

    @abstractmethod
    def _draw(self) -> np.ndarray:
        """The current frame."""


def check_at_least_one(**numbers: int) -> None:
    """Refuse numbers below 1, and what is no whole number. Raises UserError: names the first of them."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise UserError(f"{name}={value!r} is no whole number; give at least 1")
        if value < 1:
            raise UserError(f"{name}={value} is too small; give at least 1")


def checked_actions(
    actions: Any, kind: Actions, count: int | None = None, ignored: np.ndarray | None = None
) -> np.ndarray:
    """Vectors (A,) float32 in [-1, 1] of an action of the space of ``kind``, or (N, A) of those of N = ``count``
    environments; numbers beyond its bounds are clipped. ``ignored`` (N,) bool: environments that take no action now,
    whatever theirs is. Raises UserError: no numbers, another shape, a number that is not finite, or none of the
    discrete actions."""
    try:
        values = np.array(actions, dtype=np.float32)
    except (TypeError, ValueError):
        text = repr(actions)
        shown = text if len(text) < 80 else f"{text[:77]}..."
        raise UserError(f"action={shown} is no array of numbers; give values in [-1, 1]") from None
    shape = (*(() if count is None else (count,)), *(kind.space.shape or ()))
    if values.shape != shape:
        raise UserError(f"action has shape {values.shape}; this environment takes {shape}")
    if ignored is not None:
        values[ignored] = getattr(kind.space, "start", 0.0)
    if not np.isfinite(values).all():
        raise UserError("action holds NaN or infinity; give finite numbers")
    if isinstance(kind.space, gym.spaces.Discrete):
        first, last = int(kind.space.start), int(kind.space.start + kind.space.n - 1)
        if (values != values.round()).any() or values.min() < first or values.max() > last:
            raise UserError(f"action={values.tolist()} is no whole number from {first} to {last}; give one")
    return kind.inside(values)


def checked_frames(options: Mapping[str, Any], shape: tuple[int, int, int], episodes: int) -> np.ndarray | None:
    """Start frames (episodes, P, H, W, 3) uint8 of the reset options, or None; (H, W, 3) is the ``shape``. Frames (P,
    H, W, 3) or (H, W, 3) in the options are those of all episodes. Raises UserError: an unknown option, or frames of
    another shape or type."""
    for name in options:
        if name not in RESET_OPTIONS:
            raise unknown_name("options", name, RESET_OPTIONS)
    if "frames" not in options:
        return None
    frames = np.asarray(options["frames"])
    known = frames.ndim in (3, 4) or (frames.ndim == 5 and len(frames) == episodes)
    if not known or frames.shape[-3:] != shape or not frames.size:
        sides = f"{shape[0]}, {shape[1]}"
        raise UserError(
            f"frames have shape {frames.shape}; the checkpoint's are ({sides}, 3), (P, {sides}, 3) or "
            f"({episodes}, P, {sides}, 3)"
        )
    if frames.dtype != np.uint8:
        raise UserError(f"frames have type {frames.dtype}; give uint8 in [0, 255]")
    if frames.ndim == 3:
        frames = frames[None]
    return frames if frames.ndim == 5 else np.repeat(frames[None], episodes, axis=0)


def checked_seed(seed: Any) -> int:
    """A seed that Gymnasium takes. Raises UserError: it is no whole number from 0."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise UserError(f"seed={seed!r} is no whole number from 0; give one, or a list of one for each environment")
    return int(seed)
