"""What the memory tasks share: frames, decisions, seeds, snapshots, in the manner of ``MetaworldEnv``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from sfvgen_plan.envs.memory.scene import SawyerScene, SceneSnapshot
from sfvgen_plan.envs.rendering import FrameRenderer
from sfvgen_plan.errors import UserError

RAW_STEPS_PER_SECOND = 80
STATE_SIZE = 39
HALF_STATE = 18
ACTION_SIZE = 4


@dataclass(frozen=True, eq=False)
class MemorySnapshot:
    """Where a memory task stood. Opaque and picklable."""

    task: str
    layout: Any
    scene: SceneSnapshot
    decisions: int
    latched: bool
    state: np.ndarray
    random_state: Mapping[str, Any]
    extra: Any


class MemoryEnv(gym.Env[np.ndarray, np.ndarray]):
    """A scene in which one decision is one action held for ``repeat`` raw steps, and leads to one video frame.

    Subclasses give the task's name, its instruction and the methods at the end. See ``MetaworldEnv`` for the spaces
    and for what ``info`` always has; ``reward_terms`` is empty.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 16}  # noqa: RUF012 - Gymnasium's own convention
    task: str
    instruction: str

    def __init__(
        self, scene: SawyerScene, size: int, camera: str, repeat: int, render_mode: str | None, pixels: bool
    ) -> None:
        for name, value in (("size", size), ("repeat", repeat)):
            if value < 1:
                raise UserError(f"{name}={value} is too small; give at least 1")
        self.size, self.camera, self.repeat = size, camera, repeat
        self.pixels, self.render_mode = pixels, render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, RAW_STEPS_PER_SECOND // repeat)}
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
        self.scene = scene
        self._renderer: FrameRenderer | None = FrameRenderer(scene.model, size, camera) if pixels else None
        self._frame: np.ndarray | None = None
        self._state = np.zeros(STATE_SIZE)
        self._decisions = 0
        self._latched = False
        self._layout: Any = None

    @property
    def state(self) -> np.ndarray:
        """Metaworld's layout of numbers: twice hand, gripper, two objects with quaternions (now, one raw step
        earlier), then the goal; (39,) float64, a copy."""
        return self._state.copy()

    @property
    def estimates(self) -> np.ndarray:
        """True values of ``STATE_NAMES``: hand xyz, gripper opening, object xyz, goal xyz; (10,) float32."""
        return np.concatenate([self._state[:7], self._state[-3:]]).astype(np.float32)

    @property
    def decisions(self) -> int:
        """Decisions taken since reset."""
        return self._decisions

    @property
    def layout(self) -> Any:
        """What the episode is."""
        return self._layout

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. The same seed gives the same one, whatever was played before; without a seed, the next of
        the random sequence that the last seed began."""
        super().reset(seed=seed)
        layout_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._decisions, self._latched, self._frame = 0, False, None
        self._layout = self._draw(np.random.default_rng(layout_seed))
        self._place()
        now = self._half_state()
        self._state = np.concatenate([now, now, self._goal()])
        return self._observe(), self._info(success=False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Hold ``action`` (4,) for ``repeat`` raw steps; values outside [-1, 1] are clipped.

        Raises:
            UserError: wrong shape, or a number that is not finite.
        """
        held = _checked_action(action)
        rewards, success, before = [], False, self._state[:HALF_STATE]
        for raw_step in range(self.repeat):
            if raw_step == self.repeat - 1:
                before = self._half_state()
            self.scene.advance(held)
            reward, solved = self._judge()
            rewards.append(reward)
            success |= solved
        self._decisions += 1
        self._latched |= success
        self._frame = None
        self._decided()
        self._state = np.concatenate([self._half_state(), before, self._goal()])
        truncated = self._decisions >= self.length
        return self._observe(), sum(rewards) / self.repeat, False, truncated, self._info(success)

    def render(self) -> np.ndarray | None:
        """The current frame (size, size, 3) uint8; None without a render mode."""
        return self._picture().copy() if self.render_mode == "rgb_array" else None

    def snapshot(self) -> MemorySnapshot:
        """The exact current moment; picklable, independent of this environment's future."""
        return MemorySnapshot(
            self.task,
            self._layout,
            self.scene.snapshot(),
            self._decisions,
            self._latched,
            self.state,
            self.np_random.bit_generator.state,
            self._remembered(),
        )

    def restore(self, snapshot: MemorySnapshot) -> None:
        """Return to ``snapshot``, which may come from another environment of the same task.

        Raises:
            UserError: the snapshot is of another task.
        """
        if snapshot.task != self.task:
            raise UserError(
                f"snapshot is of task {snapshot.task!r}, not {self.task!r}; restore it in an environment of its task"
            )
        self._layout = snapshot.layout
        self._place()
        self.scene.restore(snapshot.scene)
        self.np_random.bit_generator.state = snapshot.random_state
        self._decisions, self._latched = snapshot.decisions, snapshot.latched
        self._state, self._frame = snapshot.state.copy(), None
        self._recall(snapshot.extra)

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
                self._renderer = FrameRenderer(self.scene.model, self.size, self.camera)
            self._frame = self._renderer.render(self.scene.data)
        return self._frame

    def _half_state(self) -> np.ndarray:
        return np.concatenate([self.scene.hand, [self.scene.gripper], self._objects()])

    def _info(self, success: bool) -> dict[str, Any]:
        return {
            "success": success,
            "success_latched": self._latched,
            "state": self.state,
            "estimates": self.estimates,
            "instruction": self.instruction,
            "reward_terms": {},
            **self._facts(),
        }

    @property
    @abstractmethod
    def length(self) -> int:
        """Decisions until truncation."""

    @abstractmethod
    def _draw(self, generator: np.random.Generator) -> Any:
        """A layout: an immutable, picklable value."""

    @abstractmethod
    def _place(self) -> None:
        """Put the scene into the start of ``self._layout``."""

    @abstractmethod
    def _objects(self) -> np.ndarray:
        """(14,): position and quaternion of two objects, zeros where there is none."""

    @abstractmethod
    def _goal(self) -> np.ndarray:
        """(3,) metres, zeros where there is none."""

    @abstractmethod
    def _judge(self) -> tuple[float, bool]:
        """After a raw step: reward 0 to 10, and whether the task is solved now."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What ``info`` has beside the usual."""

    def _decided(self) -> None:
        """Called once a decision is over."""

    def _remembered(self) -> Any:
        """What the task keeps of the episode beside the scene, as a value."""
        return None

    def _recall(self, extra: Any) -> None:
        """The inverse of ``_remembered``."""


def _checked_action(action: np.ndarray) -> np.ndarray:
    values = np.asarray(action, dtype=np.float32)
    if values.shape != (ACTION_SIZE,):
        raise UserError(f"action has shape {values.shape}; give ({ACTION_SIZE},): x, y, z, gripper")
    if not np.isfinite(values).all():
        raise UserError(f"action={values.tolist()} has a number that is not finite; give values in [-1, 1]")
    return np.clip(values, -1.0, 1.0)
