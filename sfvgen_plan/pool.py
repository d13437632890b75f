"""One pool of processes for all that simulates: episodes of an evaluation, of training data, of an agent that learns.

A pool has numbered slots. Each holds an object of its own, made where it is used, and does one thing after another with
it. Processes are spawned, as a fork would inherit an OpenGL context and hang in it: scripts that use them need the
usual ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from operator import itemgetter
from typing import Any, Protocol

from sfvgen_plan.errors import UserError

Make = Callable[[], Any]
"""Makes the object of a slot, whose ``close``, if it has one, is called at the end; picklable for processes."""

Call = Callable[[Any], Any]
"""What to do with such an object, as ``operator.methodcaller("step", action)``; picklable, like its result."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")
"""Variables that say how many threads OpenMP, the BLAS libraries and Mesa's software renderer take."""

CHANCES = 2
"""Processes that a call of ``each`` may cost."""

CLOSING_SECONDS = 2.0
"""Time that processes get to leave by themselves before they are killed."""


@dataclass(frozen=True)
class Lost:
    """The answer to a call whose process died, with the objects of its slots."""

    reason: str


class Pool(Protocol):
    """Slots 0 .. ``slots`` - 1, wherever they are."""

    slots: int

    def submit(self, slot: int, call: Call) -> None:
        """Have ``call`` done with the slot's object, after what was submitted to it before."""

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        """Answers that have come, with their slots; at least one with ``block``. An answer is the call's result, or the
        ``UserError`` that it raised, a ``RuntimeError`` with the traceback of any other error, or ``Lost``."""

    def close(self) -> None:
        """Close the objects and end the processes; calls under way are dropped. Closing twice is fine."""


def open_pool(make: Make, slots: int, threads: int = 1, processes: int | None = None) -> Pool:
    """A pool in at most ``processes`` processes, or one for each slot, of ``threads`` threads each. A single one is
    this process as it is, which starts faster and takes less memory."""
    processes = min(slots if processes is None else processes, slots)
    return ProcessPool(make, slots, processes, threads) if processes > 1 else LocalPool(make, slots)


class Objects:
    """The objects of some slots, in whatever process has them."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._made: dict[int, Any] = {}

    def do(self, slot: int, call: Call) -> Any:
        """The result of ``call``, or the error as the one who asked is to raise it."""
        try:
            if slot not in self._made:
                self._made[slot] = self._make()
            return call(self._made[slot])
        except UserError as error:
            return error
        except Exception:
            return RuntimeError(f"a simulator failed:\n{traceback.format_exc()}")

    def close(self) -> None:
        """Close all of them."""
        for made in self._made.values():
            getattr(made, "close", lambda: None)()
        self._made.clear()


class LocalPool:
    """All slots in this process; a call is done when its answer is waited for."""

    def __init__(self, make: Make, slots: int) -> None:
        self.slots = slots
        self._objects, self._calls = Objects(make), deque[tuple[int, Call]]()

    def submit(self, slot: int, call: Call) -> None:
        self._calls.append((slot, call))

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        if not self._calls:
            return []
        slot, call = self._calls.popleft()
        return [(slot, self._objects.do(slot, call))]

    def close(self) -> None:
        self._calls.clear()
        self._objects.close()


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    calls: deque[tuple[int, Call]] = field(default_factory=deque)

    def send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # It has died: reading will tell.
            self.pipe.send(message)


class ProcessPool:
    """Slots dealt out to processes; those of one process take turns. A process that dies is replaced."""

    def __init__(self, make: Make, slots: int, processes: int, threads: int = 1) -> None:
        self.slots, self._make, self._threads = slots, make, threads
        self._workers = [self._start() for _ in range(processes)]

    def submit(self, slot: int, call: Call) -> None:
        worker = self._workers[slot % len(self._workers)]
        worker.calls.append((slot, call))
        if len(worker.calls) == 1:  # One at a time, so that no pipe fills up from both ends.
            worker.send(worker.calls[0])

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        workers: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.calls}
        ready = wait(list(workers), None if block else 0)
        return sorted((answer for pipe in ready for answer in self._receive(workers[pipe])), key=itemgetter(0))

    def close(self) -> None:
        _end(self._workers)
        self._workers.clear()

    def _receive(self, worker: _Worker) -> list[tuple[int, Any]]:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):  # the pipe's end, or half of a message
            _end([worker])
            self._workers[self._workers.index(worker)] = self._start()
            lost = Lost(f"its process ended with exit code {worker.process.exitcode}")
            return [(slot, lost) for slot, _ in worker.calls]
        slot, _ = worker.calls.popleft()
        if worker.calls:
            worker.send(worker.calls[0])
        return [(slot, answer)]

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._threads), daemon=True)
        with _signals_held_back():
            process.start()
        theirs.close()  # Ours is then the only end that stays open, and reading tells when the process is gone.
        worker = _Worker(process, ours)
        worker.send(self._make)
        return worker


def _end(workers: Sequence[_Worker]) -> None:
    """Have processes leave by themselves, and kill those that don't in time."""
    for worker in workers:
        worker.pipe.close()
    deadline = time.monotonic() + CLOSING_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection, threads: int) -> None:
    """Main function of a process: do what comes through ``pipe`` until its other end is closed."""
    # Numeric libraries read these while they load, so before anything that was sent is unpickled.
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), closing(Objects(pipe.recv())) as objects:
        while True:  # until the parent is done, or gone
            slot, call = pipe.recv()
            pipe.send(objects.do(slot, call))


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes started inside don't see Ctrl-C and SIGTERM, which a terminal sends to all: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Spawning would start it first, and it unblocks both signals on the way.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(answer: Any) -> Any:
    """An answer of a pool, if it is a call's result; else it is raised."""
    if isinstance(answer, Lost):
        raise RuntimeError(f"a simulator is lost: {answer.reason}")
    if isinstance(answer, Exception):
        raise answer
    return answer


def together(pool: Pool, calls: Mapping[int, Call]) -> dict[int, Any]:
    """The results of one call to each of these slots, when all have come.

    Raises:
        UserError: a call met bad input. RuntimeError: it failed in another way, or its process died.
    """
    for slot, call in calls.items():
        pool.submit(slot, call)
    answers: dict[int, Any] = {}
    while len(answers) < len(calls):
        answers.update(pool.wait())
    return {slot: _result(answers[slot]) for slot in calls}


def each(pool: Pool, calls: Iterable[Call]) -> Iterator[Any]:
    """The results of ``calls`` as they come; whichever slot is free does the next. A call whose process died is done
    again, ``CHANCES`` times in all, so it must not depend on what its slot did before.

    Raises:
        UserError, RuntimeError: see ``together``.
    """
    left = deque((call, CHANCES) for call in calls)
    free, busy = deque(range(pool.slots)), dict[int, tuple[Call, int]]()
    while left or busy:
        while left and free:
            slot = free.popleft()
            busy[slot] = left.popleft()
            pool.submit(slot, busy[slot][0])
        for slot, answer in pool.wait():
            call, chances = busy.pop(slot)
            free.append(slot)
            if isinstance(answer, Lost) and chances > 1:
                left.appendleft((call, chances - 1))
            else:
                yield _result(answer)
