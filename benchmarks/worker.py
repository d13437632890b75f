"""Main function of a worker process. Light to import: numeric libraries read their thread counts while they load."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")
"""Variables that keep OpenMP, the BLAS libraries and Mesa's software renderer to one thread."""


def work(pipe: Connection) -> None:
    """Serve a ``Player`` at the other end of ``pipe`` until that end is closed.

    The first message is (protocol, env agent factory or None); then a ``Job`` starts an episode and an array is its
    next action. Each is answered by an ``Event``.
    """
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    from sfvgen_plan.benchmarks.episodes import Job, Player

    try:
        player = Player(*pipe.recv())
        while True:
            message = pipe.recv()
            pipe.send(player.start(message) if isinstance(message, Job) else player.act(message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # The parent is done, or gone.
    player.close()
