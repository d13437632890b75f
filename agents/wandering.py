"""Training episodes of environments that nobody has an expert for: random actions that last, or what an agent does."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.adapters import SingleAgent, kind_of
from sfvgen_plan.agents.behaviour import RANDOM, SmoothRandom, record
from sfvgen_plan.data.episodes import OWN
from sfvgen_plan.data.staging import StagedEpisode

LASTS = 0.8
"""Probability that a discrete action goes on for another decision."""


def play_wandering(env: Any, seed: int, decisions: int) -> StagedEpisode:
    """Play a training episode at random. The result depends on nothing but the environment and the seed."""
    real = env.unwrapped
    actions = Actions(env.action_space)
    random = np.random.default_rng([seed, zlib.crc32(real.task.encode())])
    wander: Any = LastingRandom(random, actions.dim) if actions.discrete else SmoothRandom(random, None, actions.dim)
    return record(
        env,
        env.reset(seed=seed),
        decisions,
        advise=_nobody(actions.dim),
        act=lambda info, advice: wander.act(info["state"]),
        kind=RANDOM,
        seed=seed,
    )


def play_agent(env: Any, seed: int, decisions: int, agent: Any) -> StagedEpisode:
    """Play a training episode with what ``make_agent`` made. Priors learn what succeeds in such episodes, or of those
    without success the best."""
    real, actions = env.unwrapped, Actions(env.action_space)
    beside = kind_of(agent) == "env"
    player: Any = agent if beside else SingleAgent(agent)
    started = env.reset(seed=seed)
    player.reset(real.task, seed)

    def act(info: dict[str, Any], advice: np.ndarray) -> np.ndarray:
        return actions.played(player.act(real) if beside else player.act(real.render())[0])

    return record(env, started, decisions, advise=_nobody(actions.dim), act=act, kind=OWN, seed=seed)


def _nobody(action_dim: int) -> Callable[[dict[str, Any]], np.ndarray]:
    """No advice."""
    return lambda info: np.full(action_dim, np.nan, np.float32)


class LastingRandom:
    """One of A actions as a one-hot vector, drawn anew now and then."""

    def __init__(self, random: np.random.Generator, action_dim: int) -> None:
        self._random, self._action = random, np.zeros(action_dim, np.float32)

    def act(self, state: np.ndarray) -> np.ndarray:
        if not self._action.any() or self._random.random() >= LASTS:
            self._action = np.eye(len(self._action), dtype=np.float32)[self._random.integers(len(self._action))]
        return self._action
