"""Playing episodes of the real environment, one after another, in whatever process has it.

A ``Player`` turns a job into events: ``Awaiting`` an action for a frame, and at last ``Ended``. It never raises for
what goes wrong in an episode; that is a result too.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.adapters import SingleAgent, kind_of
from sfvgen_plan.agents.base import BatchAgent, EnvAgent, PlanCost
from sfvgen_plan.agents.expert import ExpertAgent
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.envs.family import families
from sfvgen_plan.errors import UserError

AgentFactory = Callable[[], EnvAgent | BatchAgent]
"""Makes an agent that acts beside the environment, in the environment's process; picklable for that."""


@dataclass(frozen=True)
class Job:
    """One episode to play; ``record`` keeps its frames, ``advise`` what the task's expert would do in each of them."""

    task: str
    seed: int
    record: bool = False
    advise: bool = False


@dataclass(frozen=True)
class Recording:
    """What an episode looked like: frames (F, H, W, 3) uint8, and whether the task was solved in each, (F,) bool.

    ``actions`` (F - 1, A) led from each to the next, and earned ``rewards``; ``infos`` are the environment's, one a
    frame; ``terminated``: the task ended by itself; ``advice``: the expert's actions (F, A), where they were asked for.
    """

    job: Job
    frames: np.ndarray
    success: np.ndarray
    actions: np.ndarray
    rewards: tuple[float, ...] = ()
    infos: tuple[dict[str, Any], ...] = ()
    terminated: bool = False
    advice: np.ndarray | None = None

    @property
    def about(self) -> str:
        """What the episode was about, in the simulator's words."""
        return str(self.infos[0].get("instruction", "")) if self.infos else ""


@dataclass(frozen=True)
class Awaiting:
    """The episode goes on when it is given an action for ``frame`` (H, W, 3) uint8; ``about``, of the first one: what
    the episode is about, in the simulator's words."""

    frame: np.ndarray
    about: str = ""


@dataclass
class Ended:
    """How an episode ended; while it goes on, how it stands.

    ``cost`` is None where the agent decides elsewhere. Of an ``error``, ``details`` is the traceback, and ``bad_input``
    the message if it was a ``UserError``.
    """

    decisions: int = 0
    return_: float = 0.0
    success_final: bool = False
    first_success: int | None = None
    cost: PlanCost | None = None
    recording: Recording | None = None
    error: str = ""
    details: str = ""
    bad_input: str = ""

    @classmethod
    def broken(cls, error: Exception, decisions: int, return_: float = 0.0) -> Ended:
        """An episode that broke off counts as a failure, whatever came before."""
        return cls(
            decisions,
            return_,
            error=" ".join(f"{type(error).__name__}: {error}".split()),
            details="".join(traceback.format_exception(error)),
            bad_input=str(error) if isinstance(error, UserError) else "",
        )


Event = Awaiting | Ended


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

    def start(self, job: Job) -> Event:
        """Begin the episode of ``job``; one that goes on is dropped."""
        self._job, self._stands = job, Ended()
        self._over = self._terminated = False
        self._seen: list[tuple[np.ndarray, bool, dict[str, Any]]] = []
        self._done: list[tuple[np.ndarray, float]] = []
        self._advice: list[np.ndarray] = []
        self._expert = ExpertAgent() if job.advise else None
        try:
            if self._make_agent is not None and self._agent is None:
                made = self._make_agent()
                self._sees_frames = kind_of(made) == "batch"
                self._agent = SingleAgent(cast("BatchAgent", made)) if self._sees_frames else made
            env = self._environment(job.task, pixels=self._sees_frames or job.record)
            frame, info = env.reset(seed=job.seed)
            if self._expert is not None:
                self._expert.reset(job.task, job.seed)
                self._advice.append(self._expert.act(env.unwrapped))
            if job.record:
                self._seen.append((frame, False, info))
            about = str(info.get("instruction", ""))
            return Awaiting(frame, about) if self._agent is None else self._play(env, frame, about)
        except Exception as error:
            return self._fail(error)

    def act(self, action: np.ndarray) -> Event:
        """Execute one decision (A,) of the episode that awaits it."""
        try:
            assert self._env is not None, "no episode has been started"
            frame = self._step(self._env, action)
            return self._ended() if self._over else Awaiting(frame)
        except Exception as error:
            return self._fail(error)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = self._built = None

    def _play(self, env: gymnasium.Env, frame: np.ndarray, about: str) -> Ended:
        self._agent.reset(self._job.task, self._job.seed)
        if isinstance(self._agent, SingleAgent):
            self._agent.told(about)
        while not self._over:
            action = self._agent.act(frame)[0] if self._sees_frames else self._agent.act(env.unwrapped)
            frame = self._step(env, action)
        self._stands.cost = self._agent.stats()
        return self._ended()

    def _step(self, env: gymnasium.Env, action: np.ndarray) -> np.ndarray:
        space = Actions(env.action_space)
        frame, reward, terminated, truncated, info = env.step(space.outside(action))
        reward, stands, protocol = float(reward), self._stands, self._protocol
        if not math.isfinite(reward):
            raise ValueError(f"the environment's reward is {reward}")
        stands.decisions += 1
        stands.return_ += reward
        stands.success_final = bool(info["success"])
        if stands.success_final and stands.first_success is None:
            stands.first_success = stands.decisions
        if self._job.record:
            self._done.append((np.array(space.played(action), np.float32), reward))
            self._seen.append((frame, stands.success_final, info))
        if self._expert is not None:
            self._advice.append(self._expert.act(env.unwrapped))
        self._terminated = bool(terminated)
        solved = stands.first_success is not None and stands.decisions >= stands.first_success + protocol.linger
        self._over = bool(terminated or truncated) or solved or stands.decisions >= protocol.max_decisions
        return frame

    def _ended(self) -> Ended:
        if self._seen:
            frames, flags, infos = zip(*self._seen, strict=True)
            actions, rewards = zip(*self._done, strict=True) if self._done else ((), ())
            led = np.stack(actions) if actions else np.zeros((0, 0), np.float32)
            flags, ended = np.array(flags), self._terminated
            advice = np.stack(self._advice).astype(np.float32) if self._advice else None
            self._stands.recording = Recording(self._job, np.stack(frames), flags, led, rewards, infos, ended, advice)
        return self._stands

    def _fail(self, error: Exception) -> Ended:
        self._stands = Ended.broken(error, self._stands.decisions, self._stands.return_)
        try:
            self.close()  # An environment that broke an episode isn't trusted with the next one.
        except Exception:
            self._env = self._built = None
        return self._ended()

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
