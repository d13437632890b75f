"""Agents of other kinds made to fit: policies with ``predict``, callables, single agents, batch agents."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any, Literal

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.base import Agent, PlanCost, Stateless
from sfvgen_plan.errors import UserError

Kind = Literal["single", "batch", "env"]


def kind_of(agent: Any) -> Kind | None:
    """What ``agent`` is: "single" (``Agent``), "batch" (``BatchAgent``), "env" (``EnvAgent``), or None of these.

    All three have the same method names. Batch agents take two arguments in ``act``; env agents are told by the
    name of the one argument, ``env``, or by a true attribute ``acts_on_env``.
    """
    act = getattr(agent, "act", None)
    if not all(callable(getattr(agent, name, None)) for name in ("reset", "act", "stats")) or act is None:
        return None
    names = list(signature(act).parameters)
    if len(names) == 2:
        return "batch"
    if getattr(agent, "acts_on_env", False) or names == ["env"]:
        return "env"
    return "single"


def check_actions(actions: Any, action_dim: int, who: str) -> np.ndarray:
    """What an agent returned, as actions (G, A) float32 clipped to [-1, 1].

    Raises:
        UserError: wrong shape, not a number, or not numbers at all.
    """
    try:
        array = np.asarray(actions, dtype=np.float32)
    except (TypeError, ValueError):
        raise UserError(f"agent {who} returned {type(actions).__name__}; return numbers ({action_dim},)") from None
    given, array = array.shape, array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != action_dim or len(array) == 0:
        raise UserError(
            f"agent {who} returned actions of shape {given}, the environment takes ({action_dim},) or (G, {action_dim})"
        )
    if not np.isfinite(array).all():
        raise UserError(f"agent {who} returned an action that is not finite, {array.tolist()}; check its inputs")
    return array.clip(-1.0, 1.0)


class CallableAgent(Stateless):
    """A function of the observation as an ``Agent``."""

    def __init__(self, function: Callable[[np.ndarray], Any]) -> None:
        self.function = function

    def act(self, observation: np.ndarray) -> np.ndarray:
        return self.function(observation)


class PredictingAgent(Stateless):
    """A Stable-Baselines3 model, or anything with its ``predict(observation, deterministic=True)``, as an ``Agent``.

    Where ``predict`` takes ``state`` and ``episode_start``, as policies with an LSTM do, the state that it returns is
    kept through the episode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._keeps_state = {"state", "episode_start"} <= signature(model.predict).parameters.keys()
        self._state: Any = None

    def reset(self, task: str, seed: int) -> None:
        self._state = None

    def act(self, observation: np.ndarray) -> np.ndarray:
        """One observation -> what the policy does most of all."""
        kept = {"state": self._state, "episode_start": np.array([self._state is None])} if self._keeps_state else {}
        action, self._state = self.model.predict(observation, deterministic=True, **kept)
        return action


class Script(Stateless):
    """A function of the unwrapped environment, which answers with an action of the environment's own, as an
    ``EnvAgent``."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def act(self, env: Any) -> np.ndarray:
        return Actions(env.action_space).inside(self.function(env))


def as_agent(thing: Any) -> Agent:
    """An ``Agent``, something with SB3's ``predict``, or a callable, as an ``Agent``.

    Raises:
        UserError: it is none of these.
    """
    if kind_of(thing) == "single":
        return thing
    if callable(getattr(thing, "predict", None)):
        return PredictingAgent(thing)
    if callable(thing):
        return CallableAgent(thing)
    raise UserError(
        f"agent of type {type(thing).__name__} cannot be played; give reset/act/stats, predict, or a callable"
    )


class LanesOfAgents:
    """A ``BatchAgent`` that gives every lane an ``Agent`` of its own.

    Args:
        factory: makes the agent of a lane (anything that ``as_agent`` takes).
        action_dim: A of the environment; answers of another shape are refused.
        name: how errors call the agent.
    """

    def __init__(self, factory: Callable[[], Any], action_dim: int = 4, name: str | None = None) -> None:
        self.factory, self.action_dim, self.name = factory, action_dim, name
        self._agents: dict[int, Agent] = {}
        self._pending: dict[int, deque[np.ndarray]] = {}
        self._seconds: dict[int, float] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``; what was left of their plans is dropped."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            if lane not in self._agents:
                self._agents[lane] = as_agent(self.factory())
            self._agents[lane].reset(task, int(seed))
            self._pending[lane], self._seconds[lane] = deque(), 0.0

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """Actions (E, A). An agent is asked again once all the decisions it returned last have been executed."""
        return np.stack([self._act(lane, frame) for lane, frame in zip(lanes, frames, strict=True)])

    def stats(self, lane: int) -> PlanCost:
        """The agent's own count; its time is taken here if it keeps none."""
        cost = self._agents[lane].stats()
        return cost if cost.plan_seconds else replace(cost, plan_seconds=self._seconds[lane])

    def _act(self, lane: int, frame: np.ndarray) -> np.ndarray:
        agent = self._agents[lane]
        if not self._pending[lane]:
            started = time.perf_counter()
            answer = agent.act(frame)
            self._seconds[lane] += time.perf_counter() - started
            who = self.name or type(agent).__name__
            self._pending[lane].extend(check_actions(answer, self.action_dim, who))
        return self._pending[lane].popleft()
