"""Families of one task each, made from the ids of environments that are registered with Gymnasium."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium as gym

from sfvgen_plan.actions import Actions
from sfvgen_plan.data.sources import Source
from sfvgen_plan.envs.family import Family
from sfvgen_plan.envs.gym.env import instruction, numbers_of, steps_per_second
from sfvgen_plan.envs.gym.making import CAMERA, PREFIX, make
from sfvgen_plan.errors import UserError

DECISIONS = 200
"""Of an episode of an environment without a limit of its own."""


@cache
def family_for(task: str) -> Family:
    """The family of "gym:ID" or "gym:package.module:ID", whose only task it is.

    Raises:
        UserError: there is no such environment, or one whose actions or frames can't be learned.
    """
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
            play="sfvgen_plan.agents.wandering:Wandering",
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
