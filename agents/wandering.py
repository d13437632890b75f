"""Training episodes of environments that nobody has an expert for: random actions that last."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.base import Stateless
from sfvgen_plan.agents.behaviour import RANDOM, SmoothRandom

LASTS = 0.8
"""Probability that a discrete action goes on for another decision."""


class Wandering(Stateless):
    """Plays training episodes at random (an ``EnvAgent``), which depend on nothing but the environment and the seed."""

    acts_on_env, kind = True, RANDOM

    def reset(self, task: str, seed: int) -> None:
        """A new episode."""
        self._random = np.random.default_rng([seed, zlib.crc32(task.encode())])
        self._motion: Any = None

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) to execute, in [-1, 1]."""
        if self._motion is None:
            actions = Actions(env.action_space)
            kind = LastingRandom if actions.discrete else SmoothRandom
            self._motion = kind(self._random, None, actions.dim)
        return self._motion.act(None)


class LastingRandom:
    """One of A actions as a one-hot vector, drawn anew now and then."""

    def __init__(self, random: np.random.Generator, layout: None, action_dim: int) -> None:
        self._random, self._action = random, np.zeros(action_dim, np.float32)

    def act(self, state: Any) -> np.ndarray:
        """The next one."""
        if not self._action.any() or self._random.random() >= LASTS:
            self._action = np.eye(len(self._action), dtype=np.float32)[self._random.integers(len(self._action))]
        return self._action
