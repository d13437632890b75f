"""The processes that play training episodes. They never import torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from sfvgen_plan.agents.collection import CollectionSettings
    from sfvgen_plan.data.staging import StagedEpisode
    from sfvgen_plan.envs.decisions import DecisionEnv

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
            RLBench kept failing.
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


def play_episode(env: Any, expert: Any, settings: CollectionSettings, number: int) -> StagedEpisode:
    """Play episode ``number`` of the environment's task; the result depends on nothing else but ``settings``."""
    from sfvgen_plan.agents.behaviour import Behaviour
    from sfvgen_plan.data.staging import StagedEpisode

    seed = settings.seed + number
    expert.reset(env.task, seed)
    frame, info = env.reset(seed=seed)
    # The layout of a memory task says how long its episode is; Metaworld's go on.
    decisions = min(settings.decisions, getattr(env, "length", settings.decisions))
    # The experts of memory tasks are led by their layouts, not by the state.
    behaviour = Behaviour(env.task, seed, decisions, None if settings.memory else expert.act_on_state)
    frames, infos, rewards = [frame], [info], []
    expert_actions, actions = [expert.act(env)], []
    for _ in range(decisions):
        actions.append(behaviour.act(info["state"], expert_actions[-1]))
        frame, reward, _, _, info = env.step(actions[-1])
        frames.append(frame)
        infos.append(info)
        rewards.append(reward)
        expert_actions.append(expert.act(env))
    return StagedEpisode.played(
        frames,
        infos,
        rewards,
        actions=actions,
        expert_actions=expert_actions,
        task=env.task,
        instruction=env.instruction,
        kind=behaviour.kind,
        seed=seed,
    )


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
    from sfvgen_plan.envs.rlbench.process import SimulatorError
    from sfvgen_plan.errors import UserError

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

    played = _play_rlbench if settings.rlbench else _play_scripted
    for task, number, episode in played(settings, episodes):
        if not is_staged_for(staging, settings):
            return
        episode.save(staged_path(staging, task, number))
        reports.send(number)


def _play_scripted(
    settings: CollectionSettings, episodes: list[tuple[str, int]]
) -> Iterator[tuple[str, int, StagedEpisode]]:
    from sfvgen_plan.agents.expert import ExpertAgent

    env: DecisionEnv | None = None
    expert = ExpertAgent()
    for task, number in episodes:
        if env is None or env.task != task:
            if env is not None:
                env.close()
            env = _scripted_env(task, settings)
        yield task, number, play_episode(env, expert, settings, number)
    if env is not None:
        env.close()


def _scripted_env(task: str, settings: CollectionSettings) -> DecisionEnv:
    if settings.memory:
        from sfvgen_plan.envs.memory.tasks import make_memory

        return cast("DecisionEnv", make_memory(task, settings.camera, size=settings.size, repeat=settings.repeat))
    from sfvgen_plan.envs.metaworld import MetaworldEnv

    return MetaworldEnv(task, settings.size, settings.camera, settings.repeat, settings.decisions)


def _play_rlbench(
    settings: CollectionSettings, episodes: list[tuple[str, int]]
) -> Iterator[tuple[str, int, StagedEpisode]]:
    from sfvgen_plan.agents.rlbench_demos import play_demonstrated
    from sfvgen_plan.envs.rlbench.env import RLBenchEnv

    env: RLBenchEnv | None = None
    for task, number in episodes:
        if env is None or env.task != task:
            if env is not None:
                env.close()
            env = RLBenchEnv(task, settings.size, settings.camera, max_decisions=settings.decisions)
        yield task, number, play_demonstrated(env, settings.seed + number, settings.decisions)
    if env is not None:
        env.close()


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
