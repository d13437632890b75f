"""Evaluation by several processes, each with an agent of its own. For agents that think on the CPU; one GPU is better
fed by lanes of one process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from sfvgen_plan.agents.base import PlanCost
from sfvgen_plan.benchmarks.episodes import Ended, Job, Recording
from sfvgen_plan.benchmarks.lanes import signals_held_back
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.runner import Contestant, Observer, row_of_episode
from sfvgen_plan.benchmarks.worker import ONE_THREAD
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

LARGEST_SHARE = 5
"""Episodes of one task that a worker gets at a time: few, so that all end together; several, because a new task's
environment takes a while to build."""

CHANCES = 2
"""Processes that an episode may cost before it gets a row with that error."""


@dataclass(frozen=True)
class _Failure:
    """The share could not be played at all. ``bad_input`` is the message of a ``UserError``."""

    details: str
    bad_input: str = ""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    share: deque[Job]


def evaluate_in_workers(
    protocol: Protocol,
    jobs: Sequence[Job],
    make_contestant: Callable[[], Contestant],
    name: Contestant,
    workers: int,
    observer: Observer | None = None,
) -> list[EpisodeRow]:
    """Play ``jobs`` in ``workers`` spawned processes; the rows are those of ``runner.evaluate``, in any order.

    A process that dies is replaced and its episodes are played again; one that does so a second time in the same
    episode gives it a row with that error.

    Args:
        protocol: rules of the episodes.
        jobs: episodes to play.
        make_contestant: called in every process; picklable.
        name: how rows name the contestant where no process lived to do so.
        workers: number of processes, at most one per share of the jobs.
        observer: told of rows, recordings and failures in this process.

    Raises:
        UserError: what broke the very first episode to end, or kept an agent from being made.
    """
    crew = _Crew(protocol, jobs, make_contestant, name, observer or Observer())
    try:
        crew.play(workers)
    finally:
        crew.dismiss()
    return crew.rows


class _Crew:
    def __init__(
        self,
        protocol: Protocol,
        jobs: Sequence[Job],
        make_contestant: Callable[[], Contestant],
        name: Contestant,
        observer: Observer,
    ) -> None:
        self.rows: list[EpisodeRow] = []
        self._protocol, self._make, self._name, self._observer = protocol, make_contestant, name, observer
        self._shares = deque(shares_of(jobs))
        self._deaths: Counter[Job] = Counter()
        self._workers: list[_Worker] = []
        self._threads = 1

    def play(self, workers: int) -> None:
        workers = min(workers, len(self._shares))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = max(1, cores // max(1, workers))
        for _ in range(workers):
            self._hire()
        while self._workers:
            ready = wait([worker.pipe for worker in self._workers])
            for worker in [worker for worker in self._workers if worker.pipe in ready]:
                self._hear(worker)

    def dismiss(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            worker.process.kill()
            worker.process.join()
        self._workers.clear()

    def _hire(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._protocol, self._make, self._threads)
        process = context.Process(target=_work, args=arguments, daemon=True)
        with signals_held_back():
            process.start()
        theirs.close()
        worker = _Worker(process, ours, deque())
        self._workers.append(worker)
        self._next_share(worker)

    def _next_share(self, worker: _Worker) -> None:
        if not self._shares:
            self._workers.remove(worker)
            worker.pipe.close()  # It leaves by itself.
            worker.process.join(1.0)
            worker.process.kill()
            return
        worker.share = deque(self._shares.popleft())
        # If it has died, ``_hear`` will find the pipe at its end.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(list(worker.share))

    def _hear(self, worker: _Worker) -> None:
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):  # its end, or half of a message
            self._replace(worker)
            return
        if kind == "row":
            self._ended(worker, content)
        elif kind == "recording":
            assert isinstance(content, Recording)
            self._observer.recorded(content)
        elif kind == "failure":
            self._observer.failed(*content)
        elif kind == "refused":
            self._refused(worker, content)

    def _ended(self, worker: _Worker, row: EpisodeRow) -> None:
        worker.share = deque(job for job in worker.share if (job.task, job.seed) != (row.task, row.seed))
        self.rows.append(row)
        self._observer.ended(row)
        if not worker.share:
            self._next_share(worker)

    def _refused(self, worker: _Worker, failure: _Failure) -> None:
        """The first episode of a share met bad input. Before any row, that is the user's; later it is a row."""
        if not failure.bad_input:
            raise RuntimeError(f"a worker could not go on:\n{failure.details}")
        if not self.rows:
            raise UserError(failure.bad_input)
        self._broken(worker.share.popleft(), f"UserError: {failure.bad_input}")
        if worker.share:
            self._shares.appendleft(list(worker.share))
        self._next_share(worker)

    def _broken(self, job: Job, error: str) -> None:
        """A row for an episode that no process lived to give one."""
        row = row_of_episode(self._protocol, self._name, job, Ended(error=" ".join(error.split())), PlanCost())
        self._observer.failed(job, error)
        self.rows.append(row)
        self._observer.ended(row)

    def _replace(self, worker: _Worker) -> None:
        """After a death: the episode that was under way gets another chance or a row, the others are played on."""
        worker.process.join()
        code = worker.process.exitcode
        self._workers.remove(worker)
        worker.pipe.close()
        unfinished = list(worker.share)
        if unfinished:
            under_way = unfinished[0]
            self._deaths[under_way] += 1
            logger.warning("a worker ended with exit code %s in %s seed %d", code, under_way.task, under_way.seed)
            if self._deaths[under_way] >= CHANCES:
                self._broken(under_way, f"WorkerDied: the episode's process ended with exit code {code}")
                unfinished = unfinished[1:]
        if unfinished:
            self._shares.appendleft(unfinished)
        if self._shares:
            self._hire()


def shares_of(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in order, cut where the task changes and after ``LARGEST_SHARE``."""
    shares: list[list[Job]] = []
    for job in jobs:
        if not shares or shares[-1][0].task != job.task or len(shares[-1]) == LARGEST_SHARE:
            shares.append([])
        shares[-1].append(job)
    return shares


class _Reporter(Observer):
    """Sends what it is told to the parent."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def recorded(self, recording: Recording) -> None:
        self._pipe.send(("recording", recording))

    def failed(self, job: Job, details: str) -> None:
        self._pipe.send(("failure", (job, details)))

    def ended(self, row: EpisodeRow) -> None:
        self._pipe.send(("row", row))


def _work(pipe: Connection, protocol: Protocol, make_contestant: Callable[[], Contestant], threads: int) -> None:
    """Main function of a worker: shares come through ``pipe``, rows and the rest go back."""
    os.environ.update(dict.fromkeys(ONE_THREAD, str(threads)))
    from sfvgen_plan.benchmarks.runner import evaluate

    try:
        contestant: Contestant | None = None
        while True:
            share: Any = pipe.recv()
            try:
                contestant = contestant or make_contestant()
                evaluate(protocol, share, contestant, lanes=1, observer=_Reporter(pipe))
            except UserError as error:
                pipe.send(("refused", _Failure("", str(error))))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                pipe.send(("refused", _Failure("".join(traceback.format_exception(error)))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # The parent is done, or gone.
