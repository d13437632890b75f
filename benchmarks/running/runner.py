"""Evaluation: episodes in slots, one batch of decisions for all of them, one row per episode as soon as it ends."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvgen_plan.agents.base import BatchAgent, PlanCost, tell
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.running.episodes import AgentFactory, Awaiting, Ended, Job, Player, Recording
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import CHANCES, Lost, Make, Pool, open_pool

if TYPE_CHECKING:
    from sfvgen_plan.model.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

Opening = Callable[[Make, int, int], Pool]
"""Opens a pool, given what makes a slot's object, the number of slots, and the threads of a process."""


@dataclass(frozen=True)
class Contestant:
    """Who plays, and how the rows name it.

    Attributes:
        agent: decides here, for all slots at once; or else
        env_agent: makes the agents that decide beside each environment.
        loaded: the checkpoint that it plays with, if there is one here.
        device: that the agent computes on.
    """

    name: str
    agent: BatchAgent | None = None
    env_agent: AgentFactory | None = None
    loaded: Checkpoint | None = None
    device: str = ""

    @property
    def checkpoint(self) -> str:
        """Hash of the checkpoint; empty without one."""
        return self.loaded.hash if self.loaded is not None else ""


class Observer:
    """Told of an evaluation's progress while it runs. Does nothing; override what you need."""

    def decided(self, job: Job, decisions: int) -> None:
        """``job`` has been given its ``decisions``-th action; not told of agents that decide beside the environment."""

    def recorded(self, recording: Recording) -> None:
        """An episode whose frames were asked for has ended; comes before its row."""

    def failed(self, job: Job, details: str) -> None:
        """The traceback of what ended an episode early; comes before its row."""

    def ended(self, row: EpisodeRow) -> None:
        """An episode has ended."""


def jobs_for(tasks: Sequence[str], seeds: Iterable[int], recorded_seed: int | None = None) -> list[Job]:
    """Every task on every seed; the frames of ``recorded_seed`` are kept."""
    seeds = list(seeds)
    return [Job(task, seed, record=seed == recorded_seed) for task in tasks for seed in seeds]


def evaluate(
    protocol: Protocol,
    jobs: Sequence[Job],
    contestant: Contestant,
    slots: int = 1,
    observer: Observer | None = None,
    opening: Opening = open_pool,
    keep: Callable[[Recording], None] | None = None,
) -> list[EpisodeRow]:
    """Play ``jobs`` and return their rows in the order in which the episodes ended.

    A slot whose episode ends takes the next job at once; the others don't wait for its reset. What goes wrong in an
    episode is written into its row and the evaluation goes on. An episode whose process dies is played again, and gets
    a row with that error when it has cost ``CHANCES`` of them. The rows don't depend on ``slots``, times excepted, as
    long as the agent keeps its episodes independent.

    Args:
        protocol: rules of the episodes.
        jobs: episodes to play.
        contestant: who plays them.
        slots: episodes played side by side; 1 plays in this process, more in a process each.
        observer: told of each row as soon as its episode has ended, among other things.
        opening: where else to play, such as on Ray.
        keep: takes the recordings in the processes that play, instead of ``observer``; see ``Player``.

    Raises:
        UserError: what broke the very first episode to end; once there are rows, it goes into one.
        KeyboardInterrupt, SystemExit: passed on when the processes are gone; ``observer`` has all finished episodes.
    """
    if not jobs:
        return []
    slots = max(1, min(slots, len(jobs)))
    threads = 1 if contestant.env_agent is None else max(1, cpu_cores() // slots)
    with closing(opening(partial(Player, protocol, contestant.env_agent, keep), slots, threads)) as pool:
        run = _Run(protocol, contestant, pool, observer or Observer(), deque((job, False) for job in jobs))
        run.play()
    return run.rows


@dataclass
class _Episode:
    """An episode under way. ``frame`` is there while it awaits an action; ``alone`` after an error in a batch."""

    job: Job
    alone: bool
    frame: np.ndarray | None = None
    about: str = ""
    decisions: int = 0


@dataclass
class _Run:
    """One evaluation: its queue of jobs, each alone or not, episodes under way by their slots, and rows."""

    protocol: Protocol
    contestant: Contestant
    pool: Pool
    observer: Observer
    queue: deque[tuple[Job, bool]]
    episodes: dict[int, _Episode] = field(default_factory=dict)
    lost: Counter[Job] = field(default_factory=Counter)
    rows: list[EpisodeRow] = field(default_factory=list)

    def play(self) -> None:
        for slot in range(self.pool.slots):
            self._start_next(slot)
        while self.episodes:
            self._collect()
            for group in self._groups():
                self._decide(group)

    def _start_next(self, slot: int) -> None:
        self.episodes.pop(slot, None)
        if self.queue:
            job, alone = self.queue.popleft()
            self.episodes[slot] = _Episode(job, alone)
            self.pool.submit(slot, methodcaller("start", job))

    def _collect(self) -> None:
        """Take answers until every episode that was given an action has answered and somebody awaits one.

        Episodes that are only starting (a new task's environment takes a while) are not waited for.
        """

        def acting() -> bool:
            return any(episode.frame is None and episode.decisions > 0 for episode in self.episodes.values())

        while self.episodes and (acting() or not self._awaiting()):
            self._take(self.pool.wait())
        if self.episodes:
            self._take(self.pool.wait(block=False))

    def _awaiting(self) -> list[int]:
        return [slot for slot, episode in sorted(self.episodes.items()) if episode.frame is not None]

    def _take(self, answers: Sequence[tuple[int, Any]]) -> None:
        for slot, answer in answers:
            if isinstance(answer, Awaiting):
                episode = self.episodes[slot]
                episode.frame, episode.about = answer.frame, answer.about or episode.about
            elif isinstance(answer, Lost):
                self._play_again(slot, answer)
            else:
                self._finish(slot, Ended.broken(answer, 0) if isinstance(answer, Exception) else answer)

    def _play_again(self, slot: int, lost: Lost) -> None:
        """The process is gone; the episode starts over in another one, unless it seems to be what kills them."""
        episode = self.episodes[slot]
        self.lost[episode.job] += 1
        logger.warning("%s seed %d is lost: %s", episode.job.task, episode.job.seed, lost.reason)
        if self.lost[episode.job] >= CHANCES:
            self._finish(slot, Ended(episode.decisions, error=f"WorkerDied: {lost.reason}"))
            return
        self.queue.appendleft((episode.job, episode.alone))
        self._start_next(slot)

    def _groups(self) -> list[list[int]]:
        """Slots that are decided on together: all that await an action, but each by itself that is to be alone."""
        awaiting = self._awaiting()
        together = [slot for slot in awaiting if not self.episodes[slot].alone]
        return ([together] if together else []) + [[slot] for slot in awaiting if self.episodes[slot].alone]

    def _decide(self, slots: list[int]) -> None:
        episodes = [self.episodes[slot] for slot in slots]
        try:
            actions = self._ask_agent(slots, episodes)
        except Exception as error:
            self._refuse(slots, error)
            return
        for slot, episode, action in zip(slots, episodes, actions, strict=True):
            episode.frame = None
            episode.decisions += 1
            self.pool.submit(slot, methodcaller("act", np.asarray(action)))
            self.observer.decided(episode.job, episode.decisions)

    def _ask_agent(self, slots: list[int], episodes: list[_Episode]) -> np.ndarray:
        agent = self.contestant.agent
        assert agent is not None
        fresh = [(slot, episode) for slot, episode in zip(slots, episodes, strict=True) if not episode.decisions]
        if fresh:
            new, jobs = [slot for slot, _ in fresh], [episode.job for _, episode in fresh]
            agent.reset(new, [job.task for job in jobs], [job.seed for job in jobs])
            tell(agent, new, [episode.about for _, episode in fresh])
        actions = np.asarray(agent.act(slots, np.stack([episode.frame for episode in episodes])))  # type: ignore[misc]
        if actions.ndim != 2 or len(actions) != len(slots):
            raise ValueError(f"the agent returned actions of shape {actions.shape} for {len(slots)} episodes")
        return actions

    def _refuse(self, slots: list[int], error: Exception) -> None:
        """An error of one episode must not spoil those that shared the batch: these start again, each by itself."""
        if len(slots) == 1:
            self._finish(slots[0], Ended.broken(error, self.episodes[slots[0]].decisions))
            return
        logger.warning("%r in a batch of %d episodes; they are played again one by one", error, len(slots))
        self.queue.extendleft((self.episodes[slot].job, True) for slot in reversed(slots))
        for slot in slots:
            self._start_next(slot)

    def _finish(self, slot: int, ended: Ended) -> None:
        job = self.episodes[slot].job
        if ended.bad_input and not self.rows:
            raise UserError(ended.bad_input)
        cost = self._cost(slot, ended)
        row = EpisodeRow(
            protocol=self.protocol.id,
            task=job.task,
            agent=self.contestant.name,
            seed=job.seed,
            success_any=ended.first_success is not None,
            success_final=ended.success_final,
            return_=ended.return_,
            decisions=ended.decisions,
            plan_seconds=cost.plan_seconds / max(1, ended.decisions),
            denoiser_calls=cost.denoiser_calls,
            imagined_decisions=cost.imagined_decisions,
            error=ended.error,
            first_success=ended.first_success,
            checkpoint=self.contestant.checkpoint,
            device=self.contestant.device,
            protocol_hash=self.protocol.rules_hash,
        )
        if ended.error:
            self.observer.failed(job, ended.details or ended.error)
        if ended.recording:
            self.observer.recorded(ended.recording)
        self.rows.append(row)
        self.observer.ended(row)
        self._start_next(slot)

    def _cost(self, slot: int, ended: Ended) -> PlanCost:
        if ended.cost is not None:
            return ended.cost
        if self.contestant.agent is None or not self.episodes[slot].decisions:
            return PlanCost()
        try:
            return self.contestant.agent.stats(slot)
        except Exception:
            if not ended.error:
                raise
            return PlanCost()  # An agent that failed may not know what it has cost.
