"""What the memory tasks share: episodes that are laid out on the Sawyer table."""

from abc import abstractmethod
from functools import partial
from typing import Any

import numpy as np

from sfvgen_plan.envs.memory.parts import LaidOutEnv
from sfvgen_plan.envs.memory.scene import SawyerScene
from sfvgen_plan.envs.sawyer import HALF_STATE, SawyerEnv

OWN_CAMERA = "own"
"""Stands for each task's own view. Data, checkpoint or protocol of several tasks names it."""

_REWARD_SCALE = 0.1


class MemoryEnv(LaidOutEnv, SawyerEnv):
    """Frames, actions and ``info`` are those of ``SawyerEnv`` and ``LaidOutEnv``. Object and goal in the state are
    those that the task is about now. Truncates at the end of the layout's schedule.

    Subclasses set the first four attributes, and give the methods at the end.

    Args:
        camera: "own", or one of Metaworld's.
        repeat, max_decisions, frames: see ``DecisionEnv``.

    Raises:
        UserError: unknown camera, a number out of its range, no OpenGL library.
    """

    name: str
    own_camera: str
    home: tuple[float, float, float]
    """Where the hand begins, metres."""
    moved = np.zeros(0, np.bool_)
    """(n,) which objects were moved as asked so far; empty where none is asked for."""

    def __init__(
        self, camera: str = OWN_CAMERA, repeat: int = 5, max_decisions: int | None = None, **frames: Any
    ) -> None:
        make = partial(SawyerScene, self._furnish, self.home)
        shown = self.own_camera if camera == OWN_CAMERA else camera
        super().__init__(self.name, make, camera=shown, repeat=repeat, max_decisions=max_decisions, **frames)
        self.scene: SawyerScene = self._simulation
        self._before = np.zeros(HALF_STATE)

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        self._layout = self._lay_out(scene)
        self._place()
        self._before = self._half_state()
        self._state = None

    def _advance(self, action: np.ndarray, last: bool) -> tuple[float, bool]:
        if last:
            self._before = self._half_state()
        self.scene.advance(action)
        return self._judge()

    def _numbers(self) -> np.ndarray:
        return np.concatenate([self._half_state(), self._before, self._goal()])

    def _half_state(self) -> np.ndarray:
        return np.concatenate([self.scene.hand, [self.scene.gripper], self._object(), np.zeros(7)])

    def _capture(self) -> Any:
        return None if self._layout is None else (self._layout, self.scene.physics(), self.moved)

    def _recall(self, captured: Any) -> None:
        self._layout = None
        if captured is not None:
            self._layout, physics, moved = captured
            self._place()
            self.scene.restore(physics)
            self.moved = moved

    @staticmethod
    @abstractmethod
    def _furnish(spec: Any) -> None:
        """Add the task's own camera and bodies to a ``mujoco.MjSpec``."""

    @abstractmethod
    def _place(self) -> None:
        """Put the scene into the start of ``self._layout``, where nothing has happened."""

    @abstractmethod
    def _object(self) -> np.ndarray:
        """(7,): position and quaternion of the object that the task is about now."""

    @abstractmethod
    def _goal(self) -> np.ndarray:
        """(3,) metres."""

    @abstractmethod
    def _judge(self) -> tuple[float, bool]:
        """After a raw step: reward 0 to 10, and whether the task is solved now."""


def nearness(here: np.ndarray, there: np.ndarray) -> float:
    """Reward of the memory tasks: 10 exp(-d / 0.1 m), d between two places (3,)."""
    return float(10.0 * np.exp(-np.linalg.norm(here - there) / _REWARD_SCALE))
