"""Playing episodes of the real environment, one after another, in whatever process has it.

A ``Player`` turns a job into events: ``Awaiting`` an action for a frame, and at last ``Ended``. It never raises for
what goes wrong in an episode; that is a result too.
"""

import math
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Self

import gymnasium
import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.agents.behaviour import expert_of
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.cameras import frames_of
from sfvgen_plan.data.episodes import OWN
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import SimulatorError, UserError

AgentFactory = Callable[[], Any]  # makes an EnvAgent, in the environment's process; picklable for that
TRIES = 3  # of an episode that is kept, if the simulator fails


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
    frame; ``terminated``: the task ended by itself; ``advice``: the best actions (F, A), where they were asked for;
    ``kind``: how it was played; ``seed``: of its scene, which an agent may have chosen.
    """

    job: Job
    frames: np.ndarray
    success: np.ndarray
    actions: np.ndarray
    rewards: tuple[float, ...] = ()
    infos: tuple[dict[str, Any], ...] = ()
    terminated: bool = False
    advice: np.ndarray | None = None
    kind: str = OWN
    seed: int = 0

    @property
    def about(self) -> str:
        """What the episode was about, in the simulator's words."""
        return str(self.infos[0].get("instruction", "")) if self.infos else ""


@dataclass(frozen=True)
class Awaiting:
    """The episode goes on when it is given an action for ``frame`` (H, W, 3) uint8; ``about``: what the episode is
    about, in the simulator's words."""

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
    def broken(cls, error: Exception, decisions: int, return_: float = 0.0) -> Self:
        """An episode that broke off counts as a failure, whatever came before."""
        return cls(
            decisions,
            return_,
            error=" ".join(f"{type(error).__name__}: {error}".split()),
            details="".join(traceback.format_exception(error)),
            bad_input=str(error) if isinstance(error, UserError) else "",
        )


Event = Awaiting | Ended


def episode(
    env: gymnasium.Env, job: Job, protocol: Protocol, agent: Any, stands: Ended
) -> Generator[Awaiting, np.ndarray]:
    """Play an episode, and note in ``stands`` how it goes. ``agent``: an ``EnvAgent``; None: what awaits an action is
    yielded, and actions (A,) are sent."""
    real, space = env.unwrapped, Actions(env.action_space)
    advise = getattr(agent, "advise", None)
    if job.advise:
        expert = expert_of(job.task)
        expert.reset(job.task, job.seed)
        advise = lambda real, info: expert.act(real)  # noqa: E731
    if agent is not None:
        agent.reset(job.task, job.seed)
    begin, over = getattr(agent, "begin", None), getattr(agent, "over", None)
    frame, info = begin(env) if begin else env.reset(seed=job.seed)
    frames, infos, flags = [frame], [info], [False]
    advice: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    ended = terminated = False
    while not ended:
        if advise is not None:
            advice.append(advise(real, info))
        awaiting = Awaiting(frame, str(info.get("instruction", "")))
        action = (yield awaiting) if agent is None else agent.act(real)
        frame, earned, terminated, truncated, info = env.step(space.outside(action))
        reward = float(earned)
        if not math.isfinite(reward):
            raise ValueError(f"the environment's reward is {reward}")
        stands.decisions += 1
        stands.return_ += reward
        stands.success_final = bool(info["success"])
        if stands.success_final and stands.first_success is None:
            stands.first_success = stands.decisions
        if job.record:
            actions.append(space.played(action))
            rewards.append(reward)
            frames.append(frame)
            infos.append(info)
            flags.append(stands.success_final)
        lingered = stands.first_success is not None and stands.decisions >= stands.first_success + protocol.linger
        limit = stands.decisions >= protocol.max_decisions
        ended = bool(terminated or truncated or lingered or limit or (over is not None and over(info)))
    stands.cost = agent.stats() if agent is not None else None
    if job.record:
        if advise is not None:
            advice.append(advise(real, info))
        stands.recording = Recording(
            job, np.stack(frames), np.array(flags), np.array(actions, np.float32), tuple(rewards),
            tuple(infos), bool(terminated), np.array(advice, np.float32) if advice else None,
            getattr(agent, "kind", OWN), getattr(agent, "scene", job.seed),
        )  # fmt: skip


class Player:
    """Plays episodes under a protocol; keeps one environment at a time. ``make_agent`` makes the agent that acts here,
    beside the environment; None: actions come through ``act``. ``keep`` is given the recordings here, instead of those
    who play; such an episode is played again, ``TRIES`` times in all, if the simulator fails."""

    def __init__(
        self,
        protocol: Protocol,
        make_agent: AgentFactory | None = None,
        keep: Callable[[Recording], None] | None = None,
    ) -> None:
        self._protocol, self._make_agent, self._keep = protocol, make_agent, keep
        self._agent: Any = None
        self._env: gymnasium.Env | None = None
        self._built: tuple[str, bool] | None = None

    def start(self, job: Job) -> Event:
        """Begin the episode of ``job``; one that goes on is dropped."""
        self._stands, left = Ended(), TRIES if self._keep is not None else 1
        while True:
            try:
                if self._make_agent is not None and self._agent is None:
                    self._agent = self._make_agent()
                env = self._environment(job.task, pixels=self._agent is None or job.record)
                self._episode = episode(env, job, self._protocol, self._agent, self._stands)
                return self._next(None)
            except Exception as error:
                ended, left = self._fail(error), left - 1
                if not left or not isinstance(error, SimulatorError):
                    return ended
                self._stands = Ended()

    def act(self, action: np.ndarray) -> Event:
        """Execute one decision (A,) of the episode that awaits it."""
        try:
            return self._next(action)
        except Exception as error:
            return self._fail(error)

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env = self._built = None

    def _next(self, action: np.ndarray | None) -> Event:
        try:
            return self._episode.send(action)  # type: ignore[arg-type]
        except StopIteration:
            stands = self._stands
            if self._keep is not None and stands.recording is not None:
                self._keep(stands.recording)
                stands.recording = None
            return stands

    def _fail(self, error: Exception) -> Ended:
        self._stands = Ended.broken(error, self._stands.decisions, self._stands.return_)
        try:
            self.close()  # An environment that broke an episode isn't trusted with the next one.
        except Exception:
            self._env = self._built = None
        return self._stands

    def _environment(self, task: str, pixels: bool) -> gymnasium.Env:
        """The real environment under the protocol; without ``pixels`` its frames are blank and cost nothing."""
        if self._env is None or self._built != (task, pixels):
            self.close()
            protocol, self._built = self._protocol, (task, pixels)
            own = {**frames_of(protocol), "max_decisions": protocol.max_decisions, "pixels": pixels}
            self._env = family_of(task).make(task, **own)
        return self._env
