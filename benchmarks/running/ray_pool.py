"""A pool on Ray: its slots are actors, on one machine or on many."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from operator import itemgetter
from typing import Any

from sfvgen_plan.benchmarks.running.play import Opening
from sfvgen_plan.envs.family import VARIABLE
from sfvgen_plan.errors import UserError, install_command, reason
from sfvgen_plan.pool import THREADS, Call, Holder, Lost, Make

LOCAL = "local"  # stands for a Ray of its own on this machine, which ends with it
CONNECT_SECONDS = 10.0
STORE_BYTES = 2**28  # shared memory of a local Ray: frames are small, and go straight from actor to agent

HANDED_ON = ("MUJOCO_GL", "PYTHONPATH", VARIABLE, "SFVGEN_RLBENCH_PYTHON", "COPPELIASIM_ROOT", "DISPLAY")
"""Variables of this process that a local Ray's actors need, too."""


class RayPool:
    """A ``Pool`` whose slots are actors of the Ray that is connected (see ``connected``). More of them than the cluster
    has CPUs share those. What makes and moves their objects has to be importable where they run."""

    def __init__(self, make: Make, slots: int, threads: int = 1, variables: dict[str, str] | None = None) -> None:
        import ray

        self._ray: Any = ray
        self.slots = slots
        settings = dict.fromkeys(THREADS, str(threads)) | (variables or {})
        share = min(1.0, cluster_cpus() / slots)
        remote = ray.remote(num_cpus=share, max_restarts=0, runtime_env={"env_vars": settings})(Holder)
        self._start = lambda: remote.remote(make)
        self._actors: dict[int, Any] = {slot: self._start() for slot in range(slots)}
        self._asked: dict[Any, int] = {}

    def submit(self, slot: int, call: Call) -> None:
        self._asked[self._actors[slot].do.remote(call)] = slot

    def wait(self, block: bool = True) -> list[tuple[int, Any]]:
        if not self._asked:
            return []
        if block:
            self._ray.wait(list(self._asked), num_returns=1)
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        slots = [self._asked.pop(answer) for answer in ready]
        return sorted(zip(slots, map(self._receive, slots, ready), strict=True), key=itemgetter(0))

    def close(self) -> None:
        for actor in self._actors.values():
            with suppress(Exception):  # It may be lost, and so may all of Ray.
                self._ray.kill(actor)
        self._actors.clear()
        self._asked.clear()

    def _receive(self, slot: int, answer: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(answer)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            self._actors[slot] = self._start()
            return Lost(reason(error))
        except errors.RayError as error:
            return error


@contextmanager
def connected(address: str) -> Iterator[Opening]:
    """Inside, pools can be opened on the Ray at ``address``: host:port, ray://host:port, auto, or ``LOCAL``. Raises
    UserError: Ray isn't installed, or not to be reached there."""
    try:
        import ray
    except ImportError:
        raise UserError(f"ray={address!r} needs Ray: {install_command('ray')}") from None
    local = address == LOCAL
    settings: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES} if local else {}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        host, colon, port = address.removeprefix("ray://").rpartition(":")
        if colon:  # Where nobody listens, Ray itself would try for minutes.
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (ConnectionError, ValueError, RuntimeError, OSError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"ray={address!r} can't be reached ({said}); give host:port of its head, or local, and the cluster's "
            "token, if it has one, in RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray has its own; ours end a run in good order.
                signal.signal(number, handler)
    variables = {name: os.environ[name] for name in HANDED_ON if local and name in os.environ}
    try:
        yield partial(RayPool, variables=variables)
    finally:
        ray.shutdown()


def cluster_cpus() -> int:
    """CPUs of the Ray that is connected, at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))
