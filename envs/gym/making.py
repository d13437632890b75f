"""Makes environments that are registered with Gymnasium, or says in one line why not."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium as gym

from sfvgen_plan.envs.family import OF_GYMNASIUM as PREFIX
from sfvgen_plan.errors import UserError, reason

CAMERA = "default"
"""The environment's own view."""


def make(task: str, camera: str = CAMERA, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """The environment that "gym:ID" or "gym:package.module:ID" names; modules may lie in the current folder.

    Raises:
        UserError: it can't be made, or has no such camera.
    """
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
