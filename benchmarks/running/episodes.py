"""Playing episodes of the real environment, one after another, in whatever process has it.

A ``Player`` turns a job into events: ``Awaiting`` an action for a frame, and at last ``Ended``. It never raises for
what goes wrong in an episode; that is a result too.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.adapters import SingleAgent, kind_of
from sfvgen_plan.agents.base import BatchAgent, EnvAgent, PlanCost
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.envs.family import families
from sfvgen_plan.errors import UserError

AgentFactory = Callable[[], EnvAgent | BatchAgent]
"""Makes an agent that acts beside the environment, in the environment's process; picklable for that."""


@dataclass(frozen=True)
class Job:
    """One episode to play; ``record`` keeps its frames."""

    task: str
    seed: int
    record: bool = False


@dataclass(frozen=True)
class Recording:
    """What an episode looked like: frames (F, H, W, 3) uint8, and whether the task was solved in each, (F,) bool.

    ``actions`` (F - 1, A) led from each to the next, and earned ``rewards``; ``infos`` are the environment's, one a
    frame; ``terminated``: the task ended by itself.
    """

    job: Job
    frames: np.ndarray
    success: np.ndarray
    actions: np.ndarray
    rewards: tuple[float, ...] = ()
    infos: tuple[dict[str, Any], ...] = ()
    terminated: bool = False


@dataclass(frozen=True)
class Awaiting:
    """The episode goes on when it is given an action for ``frame`` (H, W, 3) uint8."""

    frame: np.ndarray


@dataclass(frozen=True)
class Ended:
    """How an episode ended.

    ``cost`` is None where the agent decides elsewhere. Of an ``error``, ``details`` is the traceback, and ``bad_input``
    the message if it was a ``UserError``.
    """

    decisions: int = 0
    return_: float = 0.0
    success_any: bool = False
    success_final: bool = False
    first_success: int | None = None
    cost: PlanCost | None = None
    recording: Recording | None = None
    error: str = ""
    details: str = ""
    bad_input: str = ""

    @classmethod
    def broken(cls, error: Exception, **so_far: Any) -> Ended:
        """An episode that broke off counts as a failure, whatever came before."""
        return cls(
            error=" ".join(f"{type(error).__name__}: {error}".split()),
            details="".join(traceback.format_exception(error)),
            bad_input=str(error) if isinstance(error, UserError) else "",
            **so_far,
        )


Event = Awaiting | Ended


@dataclass
class _Episode:
    """What has happened so far in the episode of ``job``."""

    job: Job
    decisions: int = 0
    return_: float = 0.0
    flag: bool = False
    first_success: int | None = None
    at_end: bool = False
    terminated: bool = False
    seen: list[tuple[np.ndarray, bool, dict[str, Any]]] = field(default_factory=list)
    done: list[tuple[np.ndarray, float]] = field(default_factory=list)

    def see(self, frame: np.ndarray, info: dict[str, Any]) -> None:
        if self.job.record:
            self.seen.append((frame, self.flag, info))

    def add(self, action: np.ndarray, reward: float, flag: bool, terminated: bool, truncated: bool) -> None:
        self.decisions += 1
        if self.job.record:
            self.done.append((np.array(action, np.float32), reward))
        self.at_end, self.terminated = terminated or truncated, terminated
        self.return_ += reward
        self.flag = flag
        if flag and self.first_success is None:
            self.first_success = self.decisions

    def over(self, protocol: Protocol) -> bool:
        if self.first_success is not None and self.decisions >= self.first_success + protocol.linger:
            return True
        return self.at_end or self.decisions >= protocol.max_decisions

    def ended(self, cost: PlanCost | None) -> Ended:
        return Ended(
            decisions=self.decisions,
            return_=self.return_,
            success_any=self.first_success is not None,
            success_final=self.flag,
            first_success=self.first_success,
            cost=cost,
            recording=self._recording(),
        )

    def broken(self, error: Exception) -> Ended:
        return Ended.broken(error, decisions=self.decisions, return_=self.return_, recording=self._recording())

    def _recording(self) -> Recording | None:
        if not self.seen:
            return None
        frames, flags, infos = zip(*self.seen, strict=True)
        actions, rewards = zip(*self.done, strict=True) if self.done else ((), ())
        led = np.stack(actions) if actions else np.zeros((0, 0), np.float32)
        return Recording(self.job, np.stack(frames), np.array(flags), led, rewards, infos, self.terminated)


class Player:
    """Plays episodes under a protocol; keeps one environment at a time.

    Args:
        protocol: the rules.
        make_agent: makes the agent that acts here, beside the environment; None: actions come through ``act``.
    """

    def __init__(self, protocol: Protocol, make_agent: AgentFactory | None = None) -> None:
        self._protocol = protocol
        self._make_agent = make_agent
        self._agent: Any = None
        self._sees_frames = make_agent is None
        self._env: gymnasium.Env | None = None
        self._built: tuple[str, bool] | None = None
        self._episode = _Episode(Job("", 0))

    def start(self, job: Job) -> Event:
        """Begin the episode of ``job``; one that goes on is dropped."""
        self._episode = _Episode(job)
        try:
            if self._make_agent is not None and self._agent is None:
                made = self._make_agent()
                self._sees_frames = kind_of(made) == "batch"
                self._agent = SingleAgent(cast("BatchAgent", made)) if self._sees_frames else made
            env = self._environment(job.task, pixels=self._sees_frames or job.record)
            frame, info = env.reset(seed=job.seed)
            self._episode.see(frame, info)
            return Awaiting(frame) if self._agent is None else self._play(env, frame)
        except Exception as error:
            return self._fail(error)

    def act(self, action: np.ndarray) -> Event:
        """Execute one decision (A,) of the episode that awaits it."""
        try:
            assert self._env is not None, "no episode has been started"
            frame = self._step(self._env, action)
            return self._episode.ended(cost=None) if self._episode.over(self._protocol) else Awaiting(frame)
        except Exception as error:
            return self._fail(error)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = self._built = None

    def _play(self, env: gymnasium.Env, frame: np.ndarray) -> Ended:
        job = self._episode.job
        self._agent.reset(job.task, job.seed)
        while not self._episode.over(self._protocol):
            action = self._agent.act(frame)[0] if self._sees_frames else self._agent.act(env.unwrapped)
            frame = self._step(env, action)
        return self._episode.ended(self._agent.stats())

    def _step(self, env: gymnasium.Env, action: np.ndarray) -> np.ndarray:
        space = Actions(env.action_space)
        frame, reward, terminated, truncated, info = env.step(space.outside(action))
        reward = float(reward)
        if not math.isfinite(reward):
            raise ValueError(f"the environment's reward is {reward}")
        self._episode.add(space.played(action), reward, bool(info["success"]), bool(terminated), bool(truncated))
        self._episode.see(frame, info)
        return frame

    def _environment(self, task: str, pixels: bool) -> gymnasium.Env:
        """The real environment under the protocol; without ``pixels`` its frames are blank and cost nothing."""
        if self._env is None or self._built != (task, pixels):
            self.close()
            families()  # whose modules register their environments
            protocol, self._built = self._protocol, (task, pixels)
            self._env = gymnasium.make(
                protocol.env_id,
                disable_env_checker=True,  # It is checked in the tests; here its warnings would come once per worker.
                task=task,
                size=protocol.size,
                camera=protocol.camera,
                repeat=protocol.repeat,
                max_decisions=protocol.max_decisions,
                pixels=pixels,
            )
        return self._env

    def _fail(self, error: Exception) -> Ended:
        ended = self._episode.broken(error)
        try:
            self.close()  # An environment that broke an episode isn't trusted with the next one.
        except Exception:
            self._env = self._built = None
        return ended
