"""Lanes on Ray: episodes are played in its actors, on one machine or on many, while the agent decides for all of them
here, in one batch. An actor that is lost costs nothing but time: its episode is played again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.episodes import Ended, EnvAgentFactory, Event, Job, Lost
from sfvgen_plan.benchmarks.lanes import Lanes
from sfvgen_plan.benchmarks.protocols import Protocol
from sfvgen_plan.benchmarks.worker import ONE_THREAD
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

LOCAL = "local"
"""Stands for a Ray of its own on this machine, which ends with it."""

CONNECT_SECONDS = 10.0

STORE_BYTES = 2**28
"""Shared memory of a local Ray: frames are small, and go straight from actor to agent."""

HANDED_ON = ("MUJOCO_GL", "PYTHONPATH", "SFVGEN_RLBENCH_PYTHON", "COPPELIASIM_ROOT", "DISPLAY")
"""Variables of this process that a local Ray's actors need, too."""


class RayLanes:
    """Lanes 0 .. count - 1, each an actor of a Ray that is connected (see ``connected``).

    Args:
        count: of lanes. More of them than the cluster has CPUs share those.
        protocol, env_agent: as for every ``Player``; they have to be importable where the actors run.
        variables: environment variables of the actors.
    """

    def __init__(
        self, count: int, protocol: Protocol, env_agent: EnvAgentFactory | None = None, variables: dict | None = None
    ) -> None:
        import ray

        self._ray: Any = ray
        share = min(1.0, cluster_cpus() / count)
        settings = dict.fromkeys(ONE_THREAD, "1") | (variables or {})
        self._make: Any = ray.remote(num_cpus=share, max_restarts=0, runtime_env={"env_vars": settings})(
            _RemotePlayer
        ).remote
        self._setup = (protocol, env_agent)
        self._actors: dict[int, Any] = {lane: self._make(*self._setup) for lane in range(count)}
        self._asked: dict[Any, int] = {}

    def start(self, lane: int, job: Job) -> None:
        self._asked[self._actors[lane].start.remote(job)] = lane

    def act(self, lane: int, action: np.ndarray) -> None:
        self._asked[self._actors[lane].act.remote(np.asarray(action))] = lane

    def wait(self, block: bool = True) -> list[tuple[int, Event]]:
        if not self._asked:
            return []
        if block:
            self._ray.wait(list(self._asked), num_returns=1)
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        events = [(lane, self._receive(lane, answer)) for answer in ready for lane in [self._asked.pop(answer)]]
        return sorted(events, key=lambda item: item[0])

    def close(self) -> None:
        for actor in self._actors.values():
            with suppress(Exception):  # It may be lost, and so may all of Ray.
                self._ray.kill(actor)
        self._actors.clear()
        self._asked.clear()

    def _receive(self, lane: int, answer: Any) -> Event:
        errors = self._ray.exceptions
        try:
            return self._ray.get(answer)
        except (errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError) as error:
            self._actors[lane] = self._make(*self._setup)
            return Lost(str(error).strip().splitlines()[0])
        except errors.RayError as error:
            return Ended.broken(error)


class _RemotePlayer:
    """What an actor is: a ``Player``, imported where it runs."""

    def __init__(self, protocol: Protocol, env_agent: EnvAgentFactory | None) -> None:
        from sfvgen_plan.benchmarks.episodes import Player

        self._player = Player(protocol, env_agent)

    def start(self, job: Job) -> Event:
        return self._player.start(job)

    def act(self, action: np.ndarray) -> Event:
        return self._player.act(action)


@contextmanager
def connected(address: str) -> Iterator[Callable[[int, Protocol, EnvAgentFactory | None], Lanes]]:
    """Inside, lanes can be opened on the Ray at ``address``: host:port, ray://host:port, auto, or ``LOCAL``.

    Raises:
        UserError: Ray isn't installed, or not to be reached there.
    """
    try:
        import ray
    except ImportError:
        raise UserError(f"ray={address!r} needs Ray: pip install 'sfvgen-plan[ray]'") from None
    if ray.is_initialized():
        raise UserError(f"ray={address!r}: this process is connected to a Ray already; end that first")
    _check_reachable(address)
    local = address == LOCAL
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _handlers_kept():
        try:
            if local:
                ray.init(address="local", include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
            else:
                ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"ray={address!r} can't be reached ({reason}); give host:port of its head, or local, and the cluster's "
                "token, if it has one, in RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            ) from None
    variables = {name: os.environ[name] for name in HANDED_ON if local and name in os.environ}
    try:
        yield lambda count, protocol, env_agent: RayLanes(count, protocol, env_agent, variables)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """UserError if nobody listens there: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(f"ray={address!r} can't be reached ({error}); give host:port of its head, or local") from None


def cluster_cpus() -> int:
    """CPUs of the Ray that is connected, at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of ours, which ends a run in good order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
