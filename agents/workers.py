"""The processes that play training episodes. They never import torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfvgen_plan.agents.collection import CollectionSettings
    from sfvgen_plan.data.staging import StagedEpisode

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")
"""LP_NUM_THREADS: Mesa's software rasteriser, whose threads only get in each other's way."""


def run_workers(
    settings: CollectionSettings,
    staging: Path,
    episodes: Sequence[tuple[str, int]],
    workers: int,
    on_episode: Callable[[], None],
) -> None:
    """Play ``episodes`` (task, number) in ``workers`` processes; each leaves a file in ``staging``.

    However this ends, no process is left running, and no file is half-written.

    Raises:
        RuntimeError: a worker failed; the message holds its traceback. UserError: it met bad input. SimulatorError:
            the simulator kept failing.
    """
    context = multiprocessing.get_context("spawn")  # A fork would inherit an OpenGL context and hang in it.
    processes = []
    pipes = []
    before = {name: os.environ.get(name) for name in _SINGLE_THREADED}
    os.environ.update(dict.fromkeys(_SINGLE_THREADED, "1"))
    try:
        for worker in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            # Every worker gets its share of every task: tasks differ in speed.
            share = list(episodes[worker::workers])
            process = context.Process(target=_work, args=(theirs, settings, staging, share), daemon=True)
            process.start()
            theirs.close()  # Ours is then the only end that stays open, and reading tells when the worker is gone.
            processes.append(process)
            pipes.append(ours)
        _follow(pipes, on_episode)
    finally:
        _restore(before)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _follow(pipes: list[Connection], on_episode: Callable[[], None]) -> None:
    """Read what the workers report until all are done."""
    open_pipes = set(pipes)
    while open_pipes:
        for pipe in wait(list(open_pipes)):
            assert isinstance(pipe, Connection)
            try:
                report = pipe.recv()
            except EOFError:
                raise RuntimeError("a collecting process was killed; finished episodes are kept, run again") from None
            if report is None:
                open_pipes.remove(pipe)
            elif isinstance(report, str):
                raise RuntimeError(f"a collecting process failed:\n{report}")
            elif isinstance(report, Exception):
                raise report
            else:
                on_episode()


def _work(reports: Connection, settings: CollectionSettings, staging: Path, episodes: list[tuple[str, int]]) -> None:
    """A worker process: one environment, and so one renderer, at a time."""
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from sfvgen_plan.errors import SimulatorError, UserError

    # A broken pipe means that the parent is gone, killed perhaps: leave the rest to the next run.
    with suppress(BrokenPipeError):
        try:
            _play_all(reports, settings, staging, episodes)
            reports.send(None)
        except BrokenPipeError:
            raise
        except (UserError, SimulatorError) as error:
            reports.send(error)
        except Exception:
            reports.send(traceback.format_exc())


def _play_all(
    reports: Connection, settings: CollectionSettings, staging: Path, episodes: list[tuple[str, int]]
) -> None:
    from sfvgen_plan.agents.collection import is_staged_for, staged_path
    from sfvgen_plan.envs.family import family_of, resolve

    family = family_of(settings.tasks[0])
    play = resolve(family.play)
    env: Any = None
    for task, number in episodes:
        if env is None or env.unwrapped.task != task:
            if env is not None:
                env.close()
            env = family.make(
                task,
                size=settings.size,
                camera=settings.camera,
                repeat=settings.repeat,
                max_decisions=settings.decisions,
            )
        episode: StagedEpisode = play(env, settings.seed + number, settings.decisions)
        if not is_staged_for(staging, settings):
            return
        episode.save(staged_path(staging, task, number))
        reports.send(number)
    if env is not None:
        env.close()


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
