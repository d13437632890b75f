"""Lanes: places where episodes are played side by side, in this process (one) or in workers (any number)."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol as Interface

import numpy as np

from sfvgen_plan.benchmarks.episodes import Ended, EnvAgentFactory, Event, Job, Player
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.worker import work

CLOSING_SECONDS = 1.0
"""Time that workers get to leave by themselves before they are killed."""


class Lanes(Interface):
    """Numbered places, each with one episode at most. Every ``start`` and ``act`` is answered by one event."""

    def start(self, lane: int, job: Job) -> None:
        """Begin an episode in ``lane``, dropping the one that awaits an action there."""

    def act(self, lane: int, action: np.ndarray) -> None:
        """Give the episode in ``lane`` its next action (A,)."""

    def wait(self, block: bool = True) -> list[tuple[int, Event]]:
        """Events that have come, with their lanes; with ``block``, at least one."""

    def close(self) -> None:
        """Drop all episodes and free what they hold."""


def open_lanes(count: int, protocol: Protocol, env_agent: EnvAgentFactory | None = None) -> Lanes:
    """``count`` lanes. A single one plays in this process, which starts faster and takes less memory."""
    return LocalLane(protocol, env_agent) if count == 1 else WorkerLanes(count, protocol, env_agent)


class LocalLane:
    """Lane 0, played in this process."""

    def __init__(self, protocol: Protocol, env_agent: EnvAgentFactory | None = None) -> None:
        self._player = Player(protocol, env_agent)
        self._events: list[tuple[int, Event]] = []

    def start(self, lane: int, job: Job) -> None:
        self._events.append((lane, self._player.start(job)))

    def act(self, lane: int, action: np.ndarray) -> None:
        self._events.append((lane, self._player.act(action)))

    def wait(self, block: bool = True) -> list[tuple[int, Event]]:
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        self._player.close()


class WorkerLanes:
    """Lanes 0 .. count - 1, each in a spawned process of its own. A worker that dies ends its episode and is replaced.

    Spawned rather than forked, because a child forked after an OpenGL context was made hangs.
    """

    def __init__(self, count: int, protocol: Protocol, env_agent: EnvAgentFactory | None = None) -> None:
        self._setup = (protocol, env_agent)
        self._workers: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._busy: set[int] = set()
        try:
            for lane in range(count):
                self._hire(lane)
        except BaseException:
            self.close()
            raise

    def start(self, lane: int, job: Job) -> None:
        self._send(lane, job)

    def act(self, lane: int, action: np.ndarray) -> None:
        self._send(lane, np.asarray(action))

    def wait(self, block: bool = True) -> list[tuple[int, Event]]:
        pipes = {self._workers[lane][1]: lane for lane in self._busy}
        events = []
        for pipe in wait(list(pipes), timeout=None if block else 0):
            assert isinstance(pipe, Connection)
            lane = pipes[pipe]
            self._busy.discard(lane)
            events.append((lane, self._receive(lane)))
        return sorted(events, key=lambda item: item[0])

    def close(self) -> None:
        for _, pipe in self._workers.values():
            pipe.close()
        deadline = time.monotonic() + CLOSING_SECONDS
        for process, _ in self._workers.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._workers.clear()
        self._busy.clear()

    def _hire(self, lane: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), name=f"lane-{lane}", daemon=True)
        with signals_held_back():
            process.start()
        theirs.close()
        self._workers[lane] = (process, ours)
        self._deliver(lane, self._setup)

    def _send(self, lane: int, message: object) -> None:
        self._busy.add(lane)
        self._deliver(lane, message)

    def _deliver(self, lane: int, message: object) -> None:
        # If the worker has died, ``wait`` will find the pipe at its end.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._workers[lane][1].send(message)

    def _receive(self, lane: int) -> Event:
        process, pipe = self._workers[lane]
        try:
            return pipe.recv()
        except (EOFError, OSError):  # its end, or half of a message
            pipe.close()
            process.join()
            error = f"WorkerDied: the episode's process ended with exit code {process.exitcode}"
            process.close()
            self._hire(lane)
            return Ended(error=error)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Processes started inside don't see Ctrl-C and SIGTERM, which a terminal sends to all: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Spawning starts this helper first, which unblocks both signals on the way.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
