"""Evaluation by several processes: the same rows, whatever happens to the processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from functools import partial
from typing import Any

import players
import pytest
from players import Dying, Refusing, Stumbling, Torn

from sfvgen_plan.agents.expert import ExpertAgent
from sfvgen_plan.benchmarks.episodes import Recording
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.runner import Contestant, Observer, evaluate, jobs_for
from sfvgen_plan.benchmarks.scaleout import LARGEST_SHARE, evaluate_in_workers, shares_of
from sfvgen_plan.errors import UserError

PROTOCOL = load_protocol("metaworld-10")
JOBS = jobs_for(["reach-v3", "drawer-close-v3"], range(3))


def by(agent: type) -> Contestant:
    return Contestant("somebody", env_agent=agent, device="cpu")


def dancing() -> Contestant:
    return Contestant("dancing", agent=players.Dancing(), device="cpu")


def comparable(rows: list[EpisodeRow]) -> list[EpisodeRow]:
    return sorted((dataclasses.replace(row, plan_seconds=0) for row in rows), key=lambda row: row.key)


def play(
    make: Any, workers: int = 2, jobs: Any = JOBS, observer: Any = None, protocol: Any = PROTOCOL
) -> list[EpisodeRow]:
    return comparable(evaluate_in_workers(protocol, jobs, make, make(), workers, observer))


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_are_those_of_a_single_process(workers: int) -> None:
    make = partial(by, ExpertAgent)
    assert play(make, workers) == comparable(evaluate(PROTOCOL, JOBS, make()))


def test_agents_that_see_frames_play_there_too() -> None:
    short = PROTOCOL.variant(max_decisions=4)
    assert play(dancing, protocol=short) == comparable(evaluate(short, JOBS, dancing()))


def test_an_error_is_a_row_and_its_traceback_is_told() -> None:
    told: list[str] = []

    class Watch(Observer):
        def failed(self, job: Any, details: str) -> None:
            told.append(f"{job.task} {job.seed}: {details}")

    rows = play(partial(by, Stumbling), observer=Watch())
    assert [row.error for row in rows if row.seed == 1] == ["RuntimeError: lost my way"] * 2
    assert [row.error for row in rows if row.seed != 1] == [""] * 4
    assert len(told) == 2
    assert "Traceback" in told[0]


@pytest.mark.parametrize("agent", [Dying, Torn])
def test_an_episode_that_kills_its_process_gets_a_row_and_the_others_are_played(agent: type) -> None:
    rows = play(partial(by, agent))
    assert [(row.seed, row.error) for row in rows if row.error] == [
        (1, "WorkerDied: the episode's process ended with exit code 3")
    ] * 2
    assert len(rows) == len(JOBS)
    assert all(row.success_any for row in rows if not row.error)


def test_losing_a_worker_loses_no_episode() -> None:
    jobs = jobs_for(["reach-v3"], range(12))
    ended: list[EpisodeRow] = []

    def kill_one() -> None:
        import multiprocessing

        while not ended:
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    class Watch(Observer):
        def ended(self, row: EpisodeRow) -> None:
            ended.append(row)

    killer = threading.Thread(target=kill_one)
    killer.start()
    rows = play(partial(by, players.Slow), jobs=jobs, observer=Watch())
    killer.join()
    assert rows == comparable(evaluate(PROTOCOL, jobs, by(ExpertAgent)))


def test_recordings_come_back() -> None:
    recordings: list[Recording] = []

    class Watch(Observer):
        def recorded(self, recording: Recording) -> None:
            recordings.append(recording)

    play(partial(by, ExpertAgent), jobs=jobs_for(["reach-v3"], range(2), recorded_seed=1), observer=Watch())
    assert [(item.job.seed, item.frames.shape[1:]) for item in recordings] == [(1, (128, 128, 3))]


def test_bad_input_that_nothing_was_played_with_is_the_users() -> None:
    with pytest.raises(UserError, match="refusing"):
        play(partial(by, Refusing), 1, jobs_for(["reach-v3"], [1]))


def test_bad_input_in_a_later_episode_is_a_row() -> None:
    rows = play(partial(by, Refusing), 1, [*jobs_for(["reach-v3"], [0]), *jobs_for(["drawer-close-v3"], [1, 2])])
    assert [(row.seed, row.error.partition(":")[0]) for row in rows] == [(1, "UserError"), (2, ""), (0, "")]


def test_shares_are_of_one_task_and_small() -> None:
    jobs = jobs_for(["a", "b"], range(LARGEST_SHARE + 2))
    shares = shares_of(jobs)
    assert [job for share in shares for job in share] == jobs
    assert [len(share) for share in shares] == [LARGEST_SHARE, 2] * 2
    assert shares_of([]) == []
