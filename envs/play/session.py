"""A game of one task: each action moves the real environment and the imagined one, and can be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.envs.rendering import ROTATED_CAMERAS
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import Checkpoint

ENDLESS = 2**31 - 1
"""Nothing is cut off: who plays decides when it is over."""

OPEN, CLOSED = -1.0, 1.0
"""The gripper's effort, last number of an action."""

MOVES = ("left", "right", "away", "near", "up", "down", "stay", "grip")


@dataclass(frozen=True)
class Moment:
    """Both worlds after the same actions, and all that is needed to go on from here.

    Attributes:
        action: (4,) that led here; zeros at the start.
        real, imagined: frames (H, W, 3) uint8.
        rewards: of the decision that led here, real and imagined.
        solved: whether the real task is solved now; ``chance``: the imagined probability.
        states: exact states of the two environments.
    """

    action: np.ndarray
    real: np.ndarray
    imagined: np.ndarray
    rewards: tuple[float, float]
    solved: bool
    chance: float
    states: tuple[Any, Any]

    @property
    def psnr(self) -> float:
        """How close the imagined frame is to the real one, in dB."""
        return float(psnr(self.real, self.imagined))


class Session:
    """The game. Not for several threads: frames are drawn in the thread that made it.

    Args:
        task: one on MuJoCo that the checkpoint lists.
        checkpoint: folder, or a loaded checkpoint; None is the bundled one.
        seed: of the real scene, whose first frame both worlds begin with.
        settings: of ``ImaginedEnv``, such as ``sampler_steps`` and ``memory``.

    Raises:
        UserError: an unknown task, one that the checkpoint doesn't list, what the environments refuse.

    Example:
        >>> game = Session("reach-v3")
        >>> game.move("right").real.shape
        (128, 128, 3)
        >>> game.rewind()
    """

    def __init__(
        self, task: str, checkpoint: str | Path | Checkpoint | None = None, seed: int = 0, **settings: Any
    ) -> None:
        family = family_of(task)
        self.task = family.canonical(task)
        self.imagined = ImaginedEnv(self.task, checkpoint, max_decisions=ENDLESS, **settings)
        loaded = self.imagined.checkpoint
        frames = {"size": loaded.size, "camera": loaded.camera, "repeat": loaded.repeat}
        self.real: DecisionEnv = family.make(self.task, **frames, max_decisions=ENDLESS).unwrapped
        self.moments: list[Moment] = []
        try:
            self.reset(seed)
        except BaseException:
            self.close()
            raise

    @property
    def moment(self) -> Moment:
        """Where the game stands."""
        return self.moments[-1]

    def reset(self, seed: int) -> Moment:
        """Begin a new game with the scene of ``seed``."""
        frame, _ = self.real.reset(seed=seed)
        seen, info = self.imagined.reset(seed=seed, options={"frames": frame})
        self.seed = seed
        start = np.array([0.0, 0.0, 0.0, OPEN], np.float32)
        self.moments = [Moment(start, frame, seen, (0.0, 0.0), False, _chance(info), self._states())]
        return self.moment

    def move(self, name: str) -> Moment:
        """Take the action that a move of ``MOVES`` means, at full strength; "grip" closes or opens the gripper."""
        grip = self.moment.action[3]
        if name == "grip":
            grip = OPEN if grip == CLOSED else CLOSED
        right, away = directions(self.real)
        x, y, z = {
            "left": (*-right, 0.0),
            "right": (*right, 0.0),
            "away": (*away, 0.0),
            "near": (*-away, 0.0),
            "up": (0.0, 0.0, 1.0),
            "down": (0.0, 0.0, -1.0),
        }.get(name, (0.0, 0.0, 0.0))
        # The largest number is 1, so that a diagonal takes no longer than it must.
        largest = max(abs(x), abs(y), abs(z), 1e-6)
        scale = 0.0 if name in ("stay", "grip") else 1.0 / largest
        return self.step(np.array([scale * x, scale * y, scale * z, grip], np.float32))

    def step(self, action: np.ndarray) -> Moment:
        """Take an action (4,) in [-1, 1] in both worlds."""
        try:
            frame, reward, _, _, real = self.real.step(action)
            seen, expected, _, _, told = self.imagined.step(action)
        except BaseException:
            self._stand()  # one world may have moved without the other
            raise
        rewards = (float(reward), float(expected))
        moment = Moment(action, frame, seen, rewards, bool(real["success"]), _chance(told), self._states())
        self.moments.append(moment)
        return moment

    def rewind(self) -> None:
        """Take the last action back; at the start nothing happens."""
        if len(self.moments) > 1:
            self.moments.pop()
            self._stand()

    def close(self) -> None:
        """Free the renderer. Closing twice is fine."""
        self.real.close()

    def _states(self) -> tuple[Any, Any]:
        return self.real.snapshot(), self.imagined.get_state()

    def _stand(self) -> None:
        """Put both environments where the game stands."""
        self.real.restore(self.moment.states[0])
        self.imagined.set_state(self.moment.states[1])


def directions(env: DecisionEnv) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal unit vectors (2,), x and y: which way the hand goes to go right and away in the picture."""
    simulation = env._simulation
    camera = simulation.model.camera(env.camera).id
    axes = np.asarray(simulation.data.cam_xmat[camera]).reshape(3, 3)  # columns: right, up, backwards
    right = -axes[:2, 0] if env.camera in ROTATED_CAMERAS else axes[:2, 0]
    length = float(np.linalg.norm(right))
    # A camera that lies on its side has no horizontal right; any pair of axes will do.
    right = right / length if length > 0.1 else np.array([1.0, 0.0])
    away = np.array([-right[1], right[0]])
    # Turned with the picture, this way is away from the camera, unless it hangs upside down.
    return right, away if away @ -axes[:2, 2] >= 0 else -away


def _chance(info: dict[str, Any]) -> float:
    return float(info.get("success_probability", 0.0))
