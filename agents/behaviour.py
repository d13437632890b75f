"""Experts, agents that solve a task because they see the simulator's true state; and how training episodes are played:
by the expert alone, disturbed or misled, and with smooth random motion.

A world model needs to see what goes wrong as well as what goes right, and a prior needs the expert's advice off its own
path; so every episode records the expert's action at every state, whoever acts. Grasps that miss by a little are what
priors of few demonstrations do, and noise hardly ever: a model that has not seen them imagines that they succeed. And
now and then the disturbed hand rests: whoever sees an expert rest only where nothing is left to do learns that a hand
that rests goes on resting.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.base import EnvAgent, Stateless
from sfvgen_plan.data.episodes import KINDS
from sfvgen_plan.envs.family import StateLayout, family_of, resolve
from sfvgen_plan.errors import UserError

CLEAN, NOISE_LOW, NOISE_HIGH, RANDOM, MISLED = KINDS
_NOISE = {CLEAN: 0.0, NOISE_LOW: 0.3, NOISE_HIGH: 0.7}

# 25 % clean, 20 % low noise, 15 % high noise, 20 % random, 20 % misled, mixed so that any run of seeds comes close to
# these shares.
_MIXTURE = [dict(zip("CLHRM", KINDS, strict=True))[letter] for letter in "CLRMHCLRMCLHRMCLRMCH"]
RANDOM_CORRELATION = 0.8  # of a number from decision to decision; of discrete actions the probability that one goes on
RANDOM_SCALE = 0.6
MAX_OBJECT_PULL = 0.8
_PULL_RANGE = 0.1
ERROR_METRES = (0.03, 0.03, 0.01)
CHANGE_OF_MIND = 1 / 12
PAUSE, LONGEST_PAUSE = 1 / 20, 8  # probability that a pause begins, and decisions that it lasts at most
PAUSE_NOISE = 0.1
RIGHT = 1 / 3


class ExpertAgent(Stateless):
    """The expert of whatever task is played (an ``EnvAgent``), made by the task's family."""

    def __init__(self) -> None:
        self._expert: EnvAgent | None = None

    def reset(self, task: str, seed: int) -> None:
        """A new episode. Raises UserError: unknown task, or one without an expert."""
        self._expert = expert_of(task)
        self._expert.reset(task, seed)

    def act(self, env: Any) -> np.ndarray:
        assert self._expert is not None, "call reset first"
        return self._expert.act(env)


def expert_of(task: str) -> EnvAgent:
    """A new expert for a task. Raises UserError: unknown task, or one without an expert."""
    family = family_of(task)
    if not family.expert:
        raise UserError(f"task={task!r}: {family.title} has no expert; choose another agent")
    expert: EnvAgent = resolve(family.expert)(task)
    return expert


def kind_of(seed: int) -> str:
    """The kind of the episode with this seed, one of ``KINDS``."""
    return _MIXTURE[seed % len(_MIXTURE)]


class Behaviour:
    """Acts in one training episode; everything random in it, its kind too, follows from ``task`` and ``seed``. A
    noisy one ``pauses``; a high-noise one turns random at a decision drawn from the whole of it. ``mislead``: the
    expert's action if it believed the state to be off by an error (S,); without it, or without a ``layout``, low noise
    stands in for misled episodes, and without that random motion is pulled nowhere."""

    def __init__(
        self,
        task: str,
        seed: int,
        decisions: int,
        layout: StateLayout | None = None,
        mislead: Callable[[np.ndarray], np.ndarray] | None = None,
        action_dim: int = 4,
        pauses: bool = True,
    ) -> None:
        kind = kind_of(seed)
        self.kind = NOISE_LOW if kind == MISLED and (mislead is None or layout is None) else kind
        self._random = np.random.default_rng([seed, zlib.crc32(task.encode())])
        self._wandering = SmoothRandom(self._random, layout, action_dim)
        self._random_from = {RANDOM: 0, NOISE_HIGH: int(self._random.integers(1, decisions + 1))}.get(self.kind)
        self._misled: Misled | None = None
        if self.kind == MISLED:
            assert mislead is not None and layout is not None
            self._misled = Misled(self._random, layout, mislead)
        self._decision = 0
        self._pause, self._rest = PAUSE * pauses, 0  # decisions of a pause that are left
        self._motion = slice(None) if layout is None else slice(3)  # numbers that move the hand; fingers hold on

    def act(self, state: np.ndarray, expert_action: np.ndarray, share: np.ndarray | float = 1.0) -> np.ndarray:
        """State and the expert's action there (A,) -> action to execute (A,) float32 in [-1, 1]; ``share`` (A,): of
        the noise, on each number."""
        now, self._decision = self._decision, self._decision + 1
        if self._random_from is not None and now >= self._random_from:
            return self._wandering.act(state)
        if self._misled is not None:
            return self._misled.act(state)
        action, noise = expert_action, _NOISE[self.kind]
        if noise and not self._rest and self._random.random() < self._pause:
            self._rest = int(self._random.integers(1, LONGEST_PAUSE + 1))
        if self._rest:
            self._rest, noise = self._rest - 1, PAUSE_NOISE
            action = expert_action.copy()
            action[self._motion] = 0.0
        noisy = action + share * noise * self._random.standard_normal(len(action))
        return np.clip(noisy, -1.0, 1.0).astype(np.float32)


class Scripted(Stateless):
    """Plays training episodes (an ``EnvAgent``): the task's expert, disturbed as the seed has it. An episode depends on
    nothing but the environment and the seed.

    An expert may have ``act_misled(env, error)``; ``begin(env)``, which resets the environment to a ``scene`` that it
    can solve; ``noise_share(env)``, see ``Behaviour.act``: it follows a path, and gives up points that a pause keeps it
    from; and ``lost``, whether it has come to its end in vain.
    """

    acts_on_env = True

    def reset(self, task: str, seed: int) -> None:
        """A new episode. Raises UserError: unknown task, or one without an expert."""
        self._seed, self._expert = seed, expert_of(task)
        self._expert.reset(task, seed)

    def begin(self, env: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset the environment; what that returns. Raises SimulatorError: the expert solves no scene."""
        real, begin = env.unwrapped, getattr(self._expert, "begin", None)
        started = begin(real) if begin else env.reset(seed=self._seed)
        self.scene = getattr(self._expert, "scene", self._seed)
        family = family_of(real.task)
        # Experts that are led by their task's layout, not by the state, can't be misled.
        act_misled = getattr(self._expert, "act_misled", None)
        mislead = partial(act_misled, real) if act_misled else None
        length = getattr(real, "length", real.max_decisions)
        pauses = not hasattr(self._expert, "noise_share")
        self._behaviour = Behaviour(real.task, self._seed, length, family.layout, mislead, family.action_dim, pauses)
        self.kind = self._behaviour.kind
        return started

    def advise(self, env: Any, info: dict[str, Any]) -> np.ndarray:
        """The expert's action (A,) in a state of the unwrapped environment."""
        self._state, self._advice = info["state"], self._expert.act(env)
        return self._advice

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) to execute there, in [-1, 1]."""
        share = getattr(self._expert, "noise_share", None)
        return self._behaviour.act(self._state, self._advice, share(env) if share else 1.0)

    def over(self, info: dict[str, Any]) -> bool:
        """Whether to stop where the environment doesn't."""
        return self.kind != RANDOM and getattr(self._expert, "lost", False)


class Wandering(Stateless):
    """Plays training episodes at random (an ``EnvAgent``), where there is no expert, or before anything is learnt. They
    depend on nothing but the environment and the seed."""

    acts_on_env, kind = True, RANDOM

    def reset(self, task: str, seed: int) -> None:
        self._random = np.random.default_rng([seed, zlib.crc32(task.encode())])
        self._motion: Any = None

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) to execute, in [-1, 1]."""
        if self._motion is None:
            actions = Actions(env.action_space)
            kind = LastingRandom if actions.discrete else SmoothRandom
            self._motion = kind(self._random, None, actions.dim)
        return self._motion.act(None)


class SmoothRandom:
    """First-order autoregressive actions, pulled a little towards the object.

    The pull changes from episode to episode. Without it the hand hardly ever touches anything: over 84 episodes of
    seven tasks it moved the object in 20 % of them, with it in 54 %, at nearly the same coverage of the workspace
    (1,018 and 890 cells of 5 cm visited).
    """

    def __init__(self, random: np.random.Generator, layout: StateLayout | None, action_dim: int) -> None:
        self._random, self._layout = random, layout
        self._pull = random.uniform(0.0, MAX_OBJECT_PULL)
        self._action = RANDOM_SCALE * random.standard_normal(action_dim)

    def act(self, state: np.ndarray) -> np.ndarray:
        action = self._action.copy()
        if self._layout is not None:
            gap = state[self._layout.object] - state[self._layout.hand]
            action[:3] += self._pull * np.clip(gap / _PULL_RANGE, -1.0, 1.0)
        fresh = np.sqrt(1.0 - RANDOM_CORRELATION**2) * RANDOM_SCALE * self._random.standard_normal(len(action))
        self._action = RANDOM_CORRELATION * self._action + fresh
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class LastingRandom:
    """One of A actions as a one-hot vector, drawn anew now and then."""

    def __init__(self, random: np.random.Generator, layout: None, action_dim: int) -> None:
        self._random, self._action = random, np.zeros(action_dim, np.float32)

    def act(self, state: Any) -> np.ndarray:
        if not self._action.any() or self._random.random() >= RANDOM_CORRELATION:
            self._action = np.eye(len(self._action), dtype=np.float32)[self._random.integers(len(self._action))]
        return self._action


class Misled:
    """The expert, who sees object and goal some centimetres beside where they are; changes its mind now and then."""

    def __init__(
        self, random: np.random.Generator, layout: StateLayout, mislead: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self._random, self._layout, self._mislead = random, layout, mislead
        self._errors = self._drawn()

    def act(self, state: np.ndarray) -> np.ndarray:
        if self._random.random() < CHANGE_OF_MIND:
            self._errors = self._drawn() * (self._random.random() >= RIGHT)
        error = np.zeros_like(state)
        error[self._layout.object], error[self._layout.goal] = self._errors
        return self._mislead(error).astype(np.float32)

    def _drawn(self) -> np.ndarray:
        """Errors (2, 3) of object and goal in metres."""
        return np.asarray(ERROR_METRES) * self._random.standard_normal((2, 3))
