"""Evaluation: episodes in lanes, all lanes' decisions in one batch, one row per episode as soon as it ends."""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sfvgen_plan.agents.base import BatchAgent, PlanCost
from sfvgen_plan.benchmarks.episodes import Awaiting, Ended, EnvAgentFactory, Event, Job, Lost, Recording
from sfvgen_plan.benchmarks.lanes import Lanes, open_lanes
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

CHANCES = 3
"""Places that an episode may cost before it gets a row with that error."""

LaneFactory = Callable[[int, Protocol, EnvAgentFactory | None], Lanes]
"""Opens so many lanes for episodes under a protocol."""


@dataclass(frozen=True)
class Contestant:
    """Who plays: exactly one of ``agent`` (decides here, for all lanes at once) and ``env_agent`` (decides beside each
    environment), and how the rows name it. ``learning``: what is known of the cost of training, as JSON values."""

    name: str
    agent: BatchAgent | None = None
    env_agent: EnvAgentFactory | None = None
    checkpoint: str = ""
    device: str = ""
    learning: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.agent is None) == (self.env_agent is None):
            raise ValueError(f"contestant {self.name!r} needs either agent or env_agent")


class Observer:
    """Told of an evaluation's progress while it runs. Does nothing; override what you need."""

    def decided(self, job: Job, decisions: int) -> None:
        """``job`` has been given an action, its ``decisions``-th. Not called for agents that decide in a worker."""

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
    lanes: int = 1,
    observer: Observer | None = None,
    opening: LaneFactory = open_lanes,
) -> list[EpisodeRow]:
    """Play ``jobs`` and return their rows in the order in which the episodes ended.

    A lane whose episode ends takes the next job at once; the others don't wait for its reset. What goes wrong in an
    episode is written into its row and the evaluation goes on. The rows don't depend on ``lanes``, times excepted,
    as long as the agent keeps its lanes independent.

    Args:
        protocol: rules of the episodes.
        jobs: episodes to play.
        contestant: who plays them.
        lanes: episodes played side by side; 1 plays in this process, more in a worker process each.
        observer: told of each row as soon as its episode has ended, among other things.
        opening: where else to play, such as on Ray.

    Raises:
        UserError: what broke the very first episode to end; once there are rows, it goes into one.
        KeyboardInterrupt, SystemExit: passed on when the workers are gone; ``observer`` has all finished episodes.
    """
    if not jobs:
        return []
    lanes = max(1, min(lanes, len(jobs)))
    places = opening(lanes, protocol, contestant.env_agent)
    run = _Run(protocol, contestant, places, jobs, observer or Observer())
    try:
        run.play(lanes)
    finally:
        places.close()
    return run.rows


@dataclass
class _Flight:
    """An episode under way. ``frame`` is there while it awaits an action."""

    job: Job
    alone: bool
    frame: np.ndarray | None = None
    decisions: int = 0


class _Run:
    """One evaluation's queue, episodes under way, and rows."""

    def __init__(
        self,
        protocol: Protocol,
        contestant: Contestant,
        places: Lanes,
        jobs: Sequence[Job],
        observer: Observer,
    ) -> None:
        self.rows: list[EpisodeRow] = []
        self._protocol = protocol
        self._contestant = contestant
        self._places = places
        self._queue = deque((job, False) for job in jobs)
        self._flights: dict[int, _Flight] = {}
        self._lost: Counter[Job] = Counter()
        self._observer = observer

    def play(self, lanes: int) -> None:
        for lane in range(lanes):
            self._start_next(lane)
        while self._flights:
            self._collect()
            for group in self._groups():
                self._decide(group)

    def _start_next(self, lane: int) -> None:
        self._flights.pop(lane, None)
        if self._queue:
            job, alone = self._queue.popleft()
            self._flights[lane] = _Flight(job, alone)
            self._places.start(lane, job)

    def _collect(self) -> None:
        """Take events until every episode that was given an action has answered and somebody awaits one.

        Episodes that are only starting (a new task's environment takes a while) are not waited for.
        """
        while self._flights and (self._stepping() or not self._awaiting()):
            self._take(self._places.wait())
        if self._flights:
            self._take(self._places.wait(block=False))

    def _stepping(self) -> bool:
        return any(flight.frame is None and flight.decisions > 0 for flight in self._flights.values())

    def _awaiting(self) -> list[int]:
        return [lane for lane, flight in sorted(self._flights.items()) if flight.frame is not None]

    def _take(self, events: Sequence[tuple[int, Event]]) -> None:
        for lane, event in events:
            if isinstance(event, Awaiting):
                self._flights[lane].frame = event.frame
            elif isinstance(event, Lost):
                self._play_again(lane, event)
            else:
                self._finish(lane, event)

    def _play_again(self, lane: int, event: Lost) -> None:
        """The place is gone; the episode starts over in another one, unless it seems to be what takes them down."""
        flight = self._flights[lane]
        self._lost[flight.job] += 1
        logger.warning("the place of %s seed %d is lost: %s", flight.job.task, flight.job.seed, event.reason)
        if self._lost[flight.job] >= CHANCES:
            self._finish(lane, Ended(error=f"WorkerDied: {event.reason}", decisions=flight.decisions))
            return
        self._queue.appendleft((flight.job, flight.alone))
        self._start_next(lane)

    def _groups(self) -> list[list[int]]:
        """Lanes that decide together: all that await an action, but those in quarantine by themselves."""
        awaiting = self._awaiting()
        together = [lane for lane in awaiting if not self._flights[lane].alone]
        return ([together] if together else []) + [[lane] for lane in awaiting if self._flights[lane].alone]

    def _decide(self, lanes: list[int]) -> None:
        flights = [self._flights[lane] for lane in lanes]
        try:
            actions = self._ask_agent(lanes, flights)
        except Exception as error:
            self._refuse(lanes, error)
            return
        for lane, flight, action in zip(lanes, flights, actions, strict=True):
            flight.frame = None
            flight.decisions += 1
            self._places.act(lane, action)
            self._observer.decided(flight.job, flight.decisions)

    def _ask_agent(self, lanes: list[int], flights: list[_Flight]) -> np.ndarray:
        agent = self._contestant.agent
        assert agent is not None
        fresh = [(lane, flight.job) for lane, flight in zip(lanes, flights, strict=True) if not flight.decisions]
        if fresh:
            agent.reset([lane for lane, _ in fresh], [job.task for _, job in fresh], [job.seed for _, job in fresh])
        actions = np.asarray(agent.act(lanes, np.stack([flight.frame for flight in flights])))  # type: ignore[misc]
        if actions.ndim != 2 or len(actions) != len(lanes):
            raise ValueError(f"the agent returned actions of shape {actions.shape} for {len(lanes)} episodes")
        return actions

    def _refuse(self, lanes: list[int], error: Exception) -> None:
        """An error of one episode must not spoil those that shared the batch: these start again, each by itself."""
        if len(lanes) == 1:
            self._finish(lanes[0], Ended.broken(error, decisions=self._flights[lanes[0]].decisions))
            return
        logger.warning("%r in a batch of %d episodes; they are played again one by one", error, len(lanes))
        self._queue.extendleft((self._flights[lane].job, True) for lane in reversed(lanes))
        for lane in lanes:
            self._start_next(lane)

    def _finish(self, lane: int, ended: Ended) -> None:
        job = self._flights[lane].job
        if ended.bad_input and not self.rows:
            raise UserError(ended.bad_input)
        if not math.isfinite(ended.return_):
            error = ValueError(f"the return of the episode is {ended.return_}")
            ended = Ended.broken(error, decisions=ended.decisions, recording=ended.recording)
        row = row_of_episode(self._protocol, self._contestant, job, ended, self._cost(lane, ended))
        if ended.error:
            self._observer.failed(job, ended.details or ended.error)
        if ended.recording:
            self._observer.recorded(ended.recording)
        self.rows.append(row)
        self._observer.ended(row)
        self._start_next(lane)

    def _cost(self, lane: int, ended: Ended) -> PlanCost:
        if ended.cost is not None:
            return ended.cost
        if self._contestant.agent is None or not self._flights[lane].decisions:
            return PlanCost()
        try:
            return self._contestant.agent.stats(lane)
        except Exception:
            if not ended.error:
                raise
            return PlanCost()  # An agent that failed may not know what it has cost.


def row_of_episode(protocol: Protocol, contestant: Contestant, job: Job, ended: Ended, cost: PlanCost) -> EpisodeRow:
    """The row of an episode that has ended."""
    return EpisodeRow(
        protocol=protocol.id,
        task=job.task,
        agent=contestant.name,
        seed=job.seed,
        success_any=ended.success_any,
        success_final=ended.success_final,
        return_=ended.return_,
        decisions=ended.decisions,
        plan_seconds=cost.plan_seconds / max(1, ended.decisions),
        denoiser_calls=cost.denoiser_calls,
        imagined_decisions=cost.imagined_decisions,
        error=ended.error,
        first_success=ended.first_success,
        checkpoint=contestant.checkpoint,
        device=contestant.device,
        protocol_hash=protocol.rules_hash,
    )
