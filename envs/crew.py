"""Real environments side by side, in worker processes that never import torch."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import gymnasium as gym

from sfvgen_plan.errors import UserError

Make = Callable[[], gym.Env[Any, Any]]
"""Makes an environment; picklable where there are processes."""

Call = Callable[[Any], Any]
"""Something to do with an environment, such as ``operator.methodcaller("step", action)``; picklable, as its result."""

CLOSING_SECONDS = 2.0
"""Time that processes get to leave by themselves before they are killed."""


class Crew:
    """Environments 0 .. count - 1, dealt out to processes; those of one process take turns.

    Processes are spawned, as a fork would inherit an OpenGL context and hang in it: scripts need the usual
    ``if __name__ == "__main__"``. Call ``close`` when done.

    Args:
        make: makes each of the environments.
        count: how many.
        processes: at most so many; 1 keeps all environments in this process.

    Raises:
        UserError: what ``make`` raises.
    """

    def __init__(self, make: Make, count: int, processes: int = 1) -> None:
        self.count = count
        self._local: list[gym.Env[Any, Any]] = []
        self._workers: list[tuple[SpawnProcess, Connection]] = []
        try:
            if min(processes, count) > 1:
                self._hire(make, min(processes, count))
            else:
                self._local.extend(make() for _ in range(count))
        except BaseException:
            self.close()
            raise

    def do(self, calls: Mapping[int, Call]) -> dict[int, Any]:
        """Do with each environment what ``calls`` says, all processes at once; the results.

        Raises:
            UserError: what an environment raises. RuntimeError: anything else that went wrong in a process.
        """
        if self._local:
            return _done(self._local, calls)
        size = len(self._workers)
        shares = [{n // size: call for n, call in calls.items() if n % size == worker} for worker in range(size)]
        busy = [worker for worker, share in enumerate(shares) if share]
        for worker in busy:
            with suppress(BrokenPipeError, ConnectionResetError):  # reading will tell
                self._workers[worker][1].send(shares[worker])
        answers = self._received(busy)
        return {n: answers[n % size][n // size] for n in calls}

    def close(self) -> None:
        """Close the environments. Closing twice is fine."""
        for env in self._local:
            env.close()
        for _, pipe in self._workers:
            pipe.close()
        for process, _ in self._workers:
            process.join(CLOSING_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._local, self._workers = [], []

    def _hire(self, make: Make, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        for worker in range(processes):
            ours, theirs = context.Pipe()
            share = len(range(worker, self.count, processes))
            process = context.Process(target=_work, args=(theirs, make, share), daemon=True)
            process.start()
            theirs.close()  # Ours is then the only end that stays open, and reading tells when the process is gone.
            self._workers.append((process, ours))
        self._received(range(processes))

    def _received(self, workers: Iterable[int]) -> dict[int, Any]:
        """What these processes answer; all of them are heard before an error is raised."""
        answers = {}
        for worker in workers:
            process, pipe = self._workers[worker]
            try:
                answers[worker] = pipe.recv()
            except (EOFError, OSError):
                process.join()
                answers[worker] = RuntimeError(f"a simulator's process ended with exit code {process.exitcode}")
        for answer in answers.values():
            if isinstance(answer, Exception):
                raise answer
        return answers


def _work(pipe: Connection, make: Make, count: int) -> None:
    """Serve ``count`` environments at the other end of ``pipe`` until that end is closed."""
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    envs: list[gym.Env[Any, Any]] = []
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is done, or gone
        pipe.send(_tried(lambda: envs.extend(make() for _ in range(count))))
        while True:
            pipe.send(_tried(partial(_done, envs, pipe.recv())))
    for env in envs:
        env.close()


def _done(envs: Sequence[gym.Env[Any, Any]], calls: Mapping[int, Call]) -> dict[int, Any]:
    return {n: call(envs[n]) for n, call in calls.items()}


def _tried(what: Callable[[], Any]) -> Any:
    """The result, or the error as the parent is to raise it."""
    try:
        return what()
    except UserError as error:
        return error
    except Exception:
        return RuntimeError(f"a simulator's process failed:\n{traceback.format_exc()}")
