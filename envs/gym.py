"""Any environment of Gymnasium as a task, and the family of one task that "gym:ID" is."""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from sfvgen_plan.actions import Actions
from sfvgen_plan.data.sources import Source
from sfvgen_plan.envs.decisions import DecisionEnv
from sfvgen_plan.envs.family import OF_GYMNASIUM as PREFIX
from sfvgen_plan.envs.family import Family
from sfvgen_plan.envs.forks import opening
from sfvgen_plan.envs.rendering import close_at_exit, gl_backend
from sfvgen_plan.errors import UserError, reason

CAMERA = "default"  # the environment's own view
DECISIONS = 200  # of an episode of an environment without a limit of its own
MOST_NUMBERS = 64  # of an observation that is taken for the state


class GymEnv(DecisionEnv):
    """One decision is an action of the environment's own space, held for ``repeat`` of its steps. Raises UserError: the
    environment can't be made, has other actions, or has no such camera; a number below 1.

    Observation: what the environment renders, resized. Reward: the sum over the steps. Ends when the environment ends,
    or is cut off by its own limit or after ``max_decisions``. ``info``: ``success`` is the environment's ``is_success``
    or ``success``, else False; ``estimates`` and ``state`` are its observation, if that is a vector of a few numbers,
    else empty.

    Args:
        task: "gym:" and the id, which may begin with the module that registers it.
        size, frames: see ``DecisionEnv``.
        camera: of a MuJoCo environment, by its name; "default" is the environment's own view.
    """

    def __init__(self, task: str, size: int = 64, camera: str = CAMERA, **frames: Any) -> None:
        if frames.get("pixels", True) or frames.get("render_mode", True):
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, and no words about a missing display
            with suppress(UserError):  # most environments draw without OpenGL
                gl_backend()
        self.own = make(task, camera, "rgb_array")
        self._stays_open: Callable[[], None] | None = None
        self.instruction = instruction(task)
        super().__init__(task, self.own.action_space, steps_per_second(self.own), size, camera, **frames)
        self.observation: Any = None

    @property
    def state(self) -> np.ndarray:
        """The environment's observation, (S,) float64; empty where it is no vector of a few numbers."""
        if not numbers_of(self.own.observation_space):
            return np.zeros(0)
        return np.array(self.observation, np.float64).ravel()

    @property
    def estimates(self) -> np.ndarray:
        return self.state.astype(np.float32)

    def close(self) -> None:
        if self._stays_open:
            atexit.unregister(self._stays_open)
        self.own.close()

    def _build(self, scene: int, options: dict[str, Any]) -> None:
        self.observation, _ = self.own.reset(seed=scene, options=options or None)

    def _play(self, action: np.ndarray) -> tuple[float, bool, bool, bool]:
        held = self.actions.outside(action)
        total, success, terminated, truncated = 0.0, False, False, False
        for _ in range(self.repeat):
            self.observation, reward, terminated, truncated, told = self.own.step(held)
            total += float(reward)
            success |= bool(told.get("is_success", told.get("success", False)))
            if terminated or truncated:
                break
        return total, success, bool(terminated), bool(truncated)

    def _draw(self) -> np.ndarray:
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


def make(task: str, camera: str = CAMERA, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """The environment that "gym:ID" or "gym:package.module:ID" names; modules may lie in the current folder. Raises
    UserError: it can't be made, or has no such camera."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    arguments: dict[str, Any] = {} if camera == CAMERA else {"camera_name": camera}
    name = task.removeprefix(PREFIX)
    try:
        return gym.make(name, render_mode=render_mode, disable_env_checker=True, **arguments)
    except gym.error.UnregisteredEnv as error:
        raise UserError(
            f"task={task!r}: {reason(error)} Give gym:ID, or gym:package.module:ID of the module that registers it"
        ) from None
    except Exception as error:  # whatever the user's own code runs into
        about = f"camera={camera!r}: " if arguments else ""
        raise UserError(f"task={task!r}: {about}can't be made ({reason(error)})") from error


@cache
def family_for(task: str) -> Family:
    """The family of "gym:ID" or "gym:package.module:ID", whose only task it is. Raises UserError: there is no such
    environment, or one whose actions or frames can't be learned."""
    env = make(task)
    try:
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            raise UserError(f"task={task!r} has no render mode rgb_array, and so no frames to learn from")
        try:
            actions = Actions(env.action_space)
        except UserError as error:
            raise UserError(f"task={task!r}: {error}") from None
        limit = env.spec.max_episode_steps if env.spec is not None else None
        readouts = tuple(f"state_{n}" for n in range(numbers_of(env.observation_space)))
        return Family(
            name=task,
            title=task.removeprefix(PREFIX),
            env_id="sfvgen/Gym-v0",
            version=_version(env),
            tasks={task: instruction(task)},
            source=Source(readouts, 0.0, steps_per_second(env), actions=None if actions.plain else actions.stored()),
            action_dim=actions.dim,
            camera=CAMERA,
            size=64,
            decisions=limit or DECISIONS,
            controls="sfvgen_plan.envs.controls:of_actions",
            play="sfvgen_plan.agents.behaviour:Wandering",
            own_observations=True,
        )
    finally:
        env.close()


def _version(env: gym.Env[Any, Any]) -> str:
    """The package that the environment comes from, with its version if it has one."""
    package = type(env.unwrapped).__module__.partition(".")[0]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
