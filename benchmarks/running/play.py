"""Playing jobs: episodes in slots, one batch of decisions for all of them, one row for each as soon as it ends."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np

from sfvgen_plan.agents.base import PlanCost, tell
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.running.contestant import Contestant
from sfvgen_plan.benchmarks.running.episode import Awaiting, Ended, Job, Player, Recording
from sfvgen_plan.devices import cpu_cores
from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import CHANCES, Lost, Make, Pool, open_pool

logger = logging.getLogger(__name__)

Opening = Callable[[Make, int, int], Pool]
"""Opens a pool, given what makes a slot's object, the number of slots, and the threads of a process."""

Decided = Callable[[Job, int], None]
"""Told that a job has been given so many actions; not of agents that decide beside the environment."""

MAX_LANES, LANES_PER_CORE = 64, 4  # episodes side by side when a GPU decides for all: most of them are waiting for it


class Played(NamedTuple):
    """An episode that has ended: its row, its recording if that was asked for, the traceback of what broke it off."""

    row: EpisodeRow
    recording: Recording | None = None
    details: str = ""


def jobs_for(tasks: Sequence[str], seeds: Iterable[int], recorded_seed: int | None = None) -> list[Job]:
    """Every task on every seed; the frames of ``recorded_seed`` are kept."""
    seeds = list(seeds)
    return [Job(task, seed, record=seed == recorded_seed) for task in tasks for seed in seeds]


def default_lanes(contestant: Contestant) -> int:
    """Agents in workers use all cores; a GPU decides for many episodes at once; a CPU for one, which starts fastest."""
    if contestant.env_agent is not None:
        return cpu_cores()
    return 1 if contestant.on_cpu else min(MAX_LANES, LANES_PER_CORE * cpu_cores())


def play(
    protocol: Protocol,
    jobs: Sequence[Job],
    contestant: Contestant,
    slots: int | None = 1,
    decided: Decided | None = None,
    opening: Opening = open_pool,
    keep: Callable[[Recording], None] | None = None,
) -> Iterator[Played]:
    """Play ``jobs``, and give each as soon as its episode has ended. Raises UserError: what broke the very first
    episode to end; once there are rows, it goes into one.

    A slot whose episode ends takes the next job at once; the others don't wait for its reset. What goes wrong in an
    episode is written into its row and the others go on. An episode whose process dies is played again, and gets a row
    with that error when it has cost ``CHANCES`` of them. The rows don't depend on ``slots``, times excepted, as long as
    the agent keeps its episodes independent. Processes end with the iterator.

    Args:
        slots: episodes played side by side; 1 plays in this process, more in a process each; None: ``default_lanes``.
        decided: told of every action given.
        opening: where else to play, such as on Ray.
        keep: takes the recordings in the processes that play; see ``Player``.
    """
    if not jobs:
        return
    slots = max(1, min(slots or default_lanes(contestant), len(jobs)))
    threads = 1 if contestant.env_agent is None else max(1, cpu_cores() // slots)
    with closing(opening(partial(Player, protocol, contestant.env_agent, keep), slots, threads)) as pool:
        yield from _Run(protocol, contestant, pool, deque(map(_Episode, jobs)), decided).play()


@dataclass
class _Episode:
    """One that waits or is under way. ``alone`` after an error in a batch; ``lost``: processes that it has cost;
    ``frame`` is there while it awaits an action."""

    job: Job
    alone: bool = False
    lost: int = 0
    frame: np.ndarray | None = None
    about: str = ""
    decisions: int = 0


@dataclass
class _Run:
    """Episodes that wait, and those under way by their slots."""

    protocol: Protocol
    contestant: Contestant
    pool: Pool
    queue: deque[_Episode]
    decided: Decided | None
    episodes: dict[int, _Episode] = field(default_factory=dict)
    any_ended: bool = False

    def play(self) -> Iterator[Played]:
        """Decide whenever every episode that was given an action has answered and somebody awaits one. Episodes that
        are only starting (a new task's environment takes a while) are not waited for."""
        for slot in range(self.pool.slots):
            self._start_next(slot)
        while self.episodes:
            acting = any(episode.frame is None and episode.decisions for episode in self.episodes.values())
            ready = bool(self._awaiting()) and not acting
            for slot, answer in self.pool.wait(block=not ready):
                yield from self._take(slot, answer)
            if ready:
                awaiting = self._awaiting()
                together = [slot for slot in awaiting if not self.episodes[slot].alone]
                for slots in ([together] if together else []) + [[slot] for slot in awaiting if slot not in together]:
                    yield from self._decide(slots)

    def _awaiting(self) -> list[int]:
        return [slot for slot, episode in sorted(self.episodes.items()) if episode.frame is not None]

    def _start_next(self, slot: int) -> None:
        self.episodes.pop(slot, None)
        if self.queue:
            self.episodes[slot] = self.queue.popleft()
            self.pool.submit(slot, methodcaller("start", self.episodes[slot].job))

    def _take(self, slot: int, answer: Any) -> Iterator[Played]:
        episode = self.episodes[slot]
        if isinstance(answer, Awaiting):
            episode.frame, episode.about = answer.frame, answer.about or episode.about
        elif isinstance(answer, Lost):
            logger.warning("%s seed %d is lost: %s", episode.job.task, episode.job.seed, answer.reason)
            if episode.lost + 1 < CHANCES:
                self.queue.appendleft(_Episode(episode.job, episode.alone, episode.lost + 1))
                self._start_next(slot)
            else:
                yield self._finish(slot, Ended(episode.decisions, error=f"WorkerDied: {answer.reason}"))
        else:
            yield self._finish(slot, Ended.broken(answer, 0) if isinstance(answer, Exception) else answer)

    def _decide(self, slots: list[int]) -> Iterator[Played]:
        """Give episodes their next action. Those that share a batch with an error start again, each by itself."""
        episodes = [self.episodes[slot] for slot in slots]
        try:
            actions = self._ask_agent(slots, episodes)
        except Exception as error:
            if len(slots) == 1:
                yield self._finish(slots[0], Ended.broken(error, episodes[0].decisions))
                return
            logger.warning("%r in a batch of %d episodes; they are played again one by one", error, len(slots))
            self.queue.extendleft(_Episode(episode.job, True, episode.lost) for episode in reversed(episodes))
            for slot in slots:
                self._start_next(slot)
            return
        for slot, episode, action in zip(slots, episodes, actions, strict=True):
            episode.frame = None
            episode.decisions += 1
            self.pool.submit(slot, methodcaller("act", np.asarray(action)))
            if self.decided:
                self.decided(episode.job, episode.decisions)

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

    def _finish(self, slot: int, ended: Ended) -> Played:
        job = self.episodes[slot].job
        if ended.bad_input and not self.any_ended:
            raise UserError(ended.bad_input)
        cost = self._cost(slot, ended)
        row = EpisodeRow(
            protocol=self.protocol.id, task=job.task, agent=self.contestant.name, seed=job.seed,
            success_any=ended.first_success is not None, success_final=ended.success_final, return_=ended.return_,
            decisions=ended.decisions, plan_seconds=cost.plan_seconds / max(1, ended.decisions),
            denoiser_calls=cost.denoiser_calls, imagined_decisions=cost.imagined_decisions, error=ended.error,
            first_success=ended.first_success, checkpoint=self.contestant.checkpoint, device=self.contestant.device,
            protocol_hash=self.protocol.rules_hash,
        )  # fmt: skip
        self.any_ended = True
        self._start_next(slot)
        return Played(row, ended.recording, ended.details or ended.error)

    def _cost(self, slot: int, ended: Ended) -> PlanCost:
        if ended.cost is not None or self.contestant.agent is None or not self.episodes[slot].decisions:
            return ended.cost or PlanCost()
        try:
            return self.contestant.agent.stats(slot)
        except Exception:
            if not ended.error:
                raise
            return PlanCost()  # An agent that failed may not know what it has cost.
