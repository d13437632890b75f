"""How training episodes are played: the expert alone, disturbed or misled, and smooth random motion.

A world model needs to see what goes wrong as well as what goes right, and a prior needs the expert's advice off its own
path; so every episode records the expert's action at every state, whoever acts. Grasps that miss by a little are what
priors of few demonstrations do, and noise hardly ever: a model that has not seen them imagines that they succeed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from sfvgen_plan.data.episodes import KINDS

CLEAN, NOISE_LOW, NOISE_HIGH, RANDOM, MISLED = KINDS

_NOISE = {CLEAN: 0.0, NOISE_LOW: 0.3, NOISE_HIGH: 0.7}

# 25 % clean, 20 % low noise, 15 % high noise, 20 % random, 20 % misled, mixed so that any run of seeds comes close to
# these shares.
_MIXTURE = tuple("CLRMHCLRMCLHRMCLRMCH")
_LETTERS = {"C": CLEAN, "L": NOISE_LOW, "H": NOISE_HIGH, "R": RANDOM, "M": MISLED}

RANDOM_CORRELATION = 0.8
RANDOM_SCALE = 0.6
MAX_OBJECT_PULL = 0.8
_PULL_RANGE = 0.1
_HAND, _OBJECT, _GOAL = slice(0, 3), slice(4, 7), slice(36, 39)

ERROR_METRES = (0.03, 0.03, 0.01)
CHANGE_OF_MIND = 1 / 12
RIGHT = 1 / 3


def kind_of(seed: int) -> str:
    """The kind of the episode with this seed, one of ``KINDS``."""
    return _LETTERS[_MIXTURE[seed % len(_MIXTURE)]]


class Behaviour:
    """Acts in one training episode; everything random in it follows from ``task`` and ``seed``.

    Args:
        task: task name.
        seed: of the episode; also decides its kind.
        decisions: length of the episode. A high-noise one turns random at a decision drawn from the whole of it.
        advise: the expert's action (4,) in any state (39,). Without it no episode is misled; low noise stands in.
    """

    def __init__(
        self, task: str, seed: int, decisions: int, advise: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        kind = kind_of(seed)
        self.kind = NOISE_LOW if kind == MISLED and advise is None else kind
        self._random = np.random.default_rng([seed, zlib.crc32(task.encode())])
        self._wandering = SmoothRandom(self._random)
        self._random_from = {RANDOM: 0, NOISE_HIGH: int(self._random.integers(1, decisions + 1))}.get(self.kind)
        self._misled = Misled(self._random, advise) if kind == MISLED and advise is not None else None
        self._decision = 0

    def act(self, state: np.ndarray, expert_action: np.ndarray) -> np.ndarray:
        """State (39,) and the expert's action there (4,) -> action to execute (4,) float32 in [-1, 1]."""
        now, self._decision = self._decision, self._decision + 1
        if self._random_from is not None and now >= self._random_from:
            return self._wandering.act(state)
        if self._misled is not None:
            return self._misled.act(state)
        noise = _NOISE[self.kind] * self._random.standard_normal(4)
        return np.clip(expert_action + noise, -1.0, 1.0).astype(np.float32)


class SmoothRandom:
    """First-order autoregressive actions, pulled a little towards the object.

    The pull changes from episode to episode. Without it the hand hardly ever touches anything: over 84 episodes of
    seven tasks it moved the object in 20 % of them, with it in 54 %, at nearly the same coverage of the workspace
    (1,018 and 890 cells of 5 cm visited).
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._pull = random.uniform(0.0, MAX_OBJECT_PULL)
        self._action = RANDOM_SCALE * random.standard_normal(4)

    def act(self, state: np.ndarray) -> np.ndarray:
        """State (39,) -> action (4,) float32 in [-1, 1]."""
        action = self._action.copy()
        action[:3] += self._pull * np.clip((state[_OBJECT] - state[_HAND]) / _PULL_RANGE, -1.0, 1.0)
        fresh = np.sqrt(1.0 - RANDOM_CORRELATION**2) * RANDOM_SCALE * self._random.standard_normal(4)
        self._action = RANDOM_CORRELATION * self._action + fresh
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class Misled:
    """The expert, who sees object and goal some centimetres beside where they are; changes its mind now and then, and
    may be right."""

    def __init__(self, random: np.random.Generator, advise: Callable[[np.ndarray], np.ndarray]) -> None:
        self._random, self._advise = random, advise
        self._errors = self._drawn()

    def act(self, state: np.ndarray) -> np.ndarray:
        """State (39,) -> action (4,) float32 in [-1, 1]."""
        if self._random.random() < CHANGE_OF_MIND:
            self._errors = self._drawn() * (self._random.random() >= RIGHT)
        believed = state.copy()
        believed[_OBJECT] += self._errors[0]
        believed[_GOAL] += self._errors[1]
        return self._advise(believed).astype(np.float32)

    def _drawn(self) -> np.ndarray:
        """Errors (2, 3) of object and goal in metres."""
        return np.asarray(ERROR_METRES) * self._random.standard_normal((2, 3))
