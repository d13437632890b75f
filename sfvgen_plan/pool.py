"""One pool of processes for all that simulates: episodes of an evaluation, of training data, of an agent that learns.

A pool has numbered slots. Each holds an object of its own, made where it is used, and does one thing after another with
it. Processes are spawned, as a fork would inherit an OpenGL context and hang in it: scripts that use them need the
usual ``if __name__ == "__main__"``.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from sfvgen_plan.errors import UserError

Make = Callable[[], Any]
"""Makes the object of a slot, whose ``close``, if it has one, is called at the end; picklable for processes."""

Call = Callable[[Any], Any]
"""What to do with such an object, as ``operator.methodcaller("step", action)``; picklable, like its result."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")
"""Variables that say how many threads OpenMP, the BLAS libraries and Mesa's software renderer take."""

CHANCES = 2  # processes that an episode may cost
CLOSING_SECONDS = 2.0  # time that processes get to leave by themselves before they are killed


@dataclass(frozen=True)
class Lost:
    """The answer to a call whose process died, with the object of its slot."""

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


def open_pool(make: Make, slots: int, threads: int = 1) -> Pool:
    """A pool with a process of ``threads`` threads for each slot. A single slot is in this process as it is, which
    starts faster and takes less memory."""
    return ProcessPool(make, slots, threads) if slots > 1 else LocalPool(make)


class Holder:
    """The object of a slot, in whatever process has it."""

    def __init__(self, make: Make) -> None:
        self._make, self._made = make, None

    def do(self, call: Call) -> Any:
        """The result of ``call``, or the error as the one who asked is to raise it."""
        try:
            self._made = self._make() if self._made is None else self._made
            return call(self._made)
        except UserError as error:
            return error
        except Exception:
            return RuntimeError(f"a simulator failed:\n{traceback.format_exc()}")

    def close(self) -> None:
        getattr(self._made, "close", lambda: None)()
        self._made = None


class LocalPool:
    """One slot, in this process; a call is done when its answer is waited for."""

    slots = 1

    def __init__(self, make: Make) -> None:
        self._holder, self._calls = Holder(make), deque[Call]()

    def submit(self, slot: int, call: Call) -> None:
        self._calls.append(call)

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        return [(0, self._holder.do(self._calls.popleft()))] if self._calls else []

    def close(self) -> None:
        self._calls.clear()
        self._holder.close()


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    calls: deque[Call] = field(default_factory=deque)

    def send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # It has died: reading will tell.
            self.pipe.send(message)


class ProcessPool:
    """A process for each slot; one that dies is replaced."""

    def __init__(self, make: Make, slots: int, threads: int = 1) -> None:
        self.slots, self._make, self._threads = slots, make, threads
        self._workers = [self._start() for _ in range(slots)]

    def submit(self, slot: int, call: Call) -> None:
        worker = self._workers[slot]
        worker.calls.append(call)
        if len(worker.calls) == 1:  # One at a time, so that no pipe fills up from both ends.
            worker.send(call)

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        slots: dict[Any, int] = {worker.pipe: slot for slot, worker in enumerate(self._workers) if worker.calls}
        ready = sorted(slots[pipe] for pipe in wait(list(slots), None if block else 0))
        return [(slot, answer) for slot in ready for answer in self._receive(slot)]

    def close(self) -> None:
        _end(self._workers)
        self._workers.clear()

    def _receive(self, slot: int) -> list[Any]:
        worker = self._workers[slot]
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):  # the pipe's end, or half of a message
            _end([worker])
            self._workers[slot] = self._start()
            return [Lost(f"its process ended with exit code {worker.process.exitcode}")] * len(worker.calls)
        worker.calls.popleft()
        if worker.calls:
            worker.send(worker.calls[0])
        return [answer]

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
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), closing(Holder(pipe.recv())) as holder:
        while True:  # until the parent is done, or gone
            pipe.send(holder.do(pipe.recv()))


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
