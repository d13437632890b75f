"""Things of other kinds made to fit as agents: policies with ``predict``, callables, scripts; and agents made worse on
purpose: one agent at several strengths."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.base import Agent, BatchAgent, PlanCost, Stateless, kind_of, tell
from sfvgen_plan.agents.lanes import FollowingAgent, Lane
from sfvgen_plan.errors import UserError
from sfvgen_plan.settings import check_number


def check_actions(actions: Any, action_dim: int, who: str) -> np.ndarray:
    """What an agent returned, as actions (G, A) float32 clipped to [-1, 1]. Raises UserError: wrong shape, not a
    number, or not numbers at all."""
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
    """An ``Agent``, something with SB3's ``predict``, or a callable, as an ``Agent``. Raises UserError: it is none of
    these."""
    if kind_of(thing) == "single":
        return thing
    if callable(getattr(thing, "predict", None)):
        return PredictingAgent(thing)
    if callable(thing):
        return CallableAgent(thing)
    raise UserError(
        f"agent of type {type(thing).__name__} cannot be played; give reset/act/stats, predict, or a callable"
    )


class LanesOfAgents(FollowingAgent):
    """A ``BatchAgent`` that gives every lane an ``Agent`` of its own, anything that ``as_agent`` takes of what
    ``factory`` makes, which is asked again once all the decisions that it returned last have been executed. Answers of
    other than ``action_dim`` numbers are refused; errors call the agent by its ``name``."""

    def __init__(self, factory: Callable[[], Any], action_dim: int = 4, name: str | None = None) -> None:
        super().__init__(None)
        self.factory, self.action_dim, self.name = factory, action_dim, name
        self._agents: dict[int, Agent] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Start new episodes in ``lanes``; what was left of their plans is dropped."""
        super().reset(lanes, tasks, seeds)
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            if lane not in self._agents:
                self._agents[lane] = as_agent(self.factory())
            self.lane(lane).kept = self._agents[lane]
            self._agents[lane].reset(task, int(seed))

    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        for lane, frame in zip(lanes, state, strict=True):
            if not lane.pending:
                who = self.name or type(lane.kept).__name__
                lane.pending.extend(check_actions(lane.kept.act(frame), self.action_dim, who))
        return np.stack([lane.pending.popleft() for lane in lanes])

    def stats(self, lane: int) -> PlanCost:
        """The agent's own count; its time is taken here if it keeps none."""
        cost: PlanCost = self._agents[lane].stats()
        return cost if cost.plan_seconds else replace(cost, plan_seconds=super().stats(lane).plan_seconds)


class DisturbedAgent(FollowingAgent):
    """A ``BatchAgent`` with Gaussian ``noise`` of that deviation on each number of an action, before it is clipped to
    [-1, 1], and with uniformly ``random`` decisions at that probability. One that follows its episodes is told what is
    played instead of its actions. Raises UserError: a number out of range.

    What disturbs an episode depends on its seed and decision alone, so an agent meets the same disturbance in two
    simulators.
    """

    def __init__(self, agent: BatchAgent, noise: float = 0.0, random: float = 0.0) -> None:
        check_number("noise", noise, 0)
        check_number("random", random, 0, 1)
        super().__init__(None)
        self.agent, self.noise, self.random = agent, noise, random

    def reset(self, lanes: Sequence[int], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        super().reset(lanes, tasks, seeds)
        self.agent.reset(lanes, tasks, seeds)

    def told(self, lanes: Sequence[int], texts: Sequence[str]) -> None:
        tell(self.agent, lanes, texts)

    def act(self, lanes: Sequence[int], frames: np.ndarray) -> np.ndarray:
        answered = self.agent.act(lanes, frames)
        actions = self.answered(lambda: ([self.lane(lane) for lane in lanes], answered))
        if isinstance(self.agent, FollowingAgent):
            self.agent.executed(lanes, actions)
        return actions

    def answer(self, lanes: Sequence[Lane], state: np.ndarray) -> np.ndarray:
        """The actions (E, A) that are left of ``state``, those of the agent."""
        return np.stack([self._disturbed(lane, action) for lane, action in zip(lanes, state, strict=True)])

    def stats(self, lane: int) -> PlanCost:
        return self.agent.stats(lane)

    def _disturbed(self, lane: Lane, action: np.ndarray) -> np.ndarray:
        from sfvgen_plan.agents.noise import Stream, generator  # imports torch

        drawn = generator((0, lane.seed, lane.decision), Stream.DISTURBANCE)
        chance, uniform = drawn.random(), drawn.uniform(-1.0, 1.0, len(action))
        noisy = action + self.noise * drawn.standard_normal(len(action))
        return (uniform if chance < self.random else noisy.clip(-1.0, 1.0)).astype(np.float32)
