"""Evaluation on Ray: the same rows, whatever happens to its workers."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import players
import pytest
from players import Dying, Stumbling

from sfvgen_plan.agents.expert import ExpertAgent
from sfvgen_plan.benchmarks.episodes import Job, Recording
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.ray_lanes import LOCAL, connected
from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.runner import Contestant, LaneFactory, Observer, evaluate, jobs_for
from sfvgen_plan.errors import UserError

ray = pytest.importorskip("ray")

PROTOCOL = load_protocol("metaworld-10").variant(max_decisions=20)
JOBS = jobs_for(["reach-v3", "drawer-close-v3"], range(3))


@pytest.fixture(scope="module")
def opening() -> Iterator[LaneFactory]:
    # The agents of these tests have to be found in Ray's workers.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        with connected(LOCAL) as found:
            yield found
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def by(agent: type) -> Contestant:
    return Contestant("somebody", env_agent=agent, device="cpu")


def dancing() -> Contestant:
    return Contestant("dancing", agent=players.Dancing(), device="cpu")


def comparable(rows: list[EpisodeRow]) -> list[EpisodeRow]:
    return sorted((dataclasses.replace(row, plan_seconds=0) for row in rows), key=lambda row: row.key)


def play(opening: LaneFactory, contestant: Contestant, jobs: Any = JOBS, **rest: Any) -> list[EpisodeRow]:
    return comparable(evaluate(PROTOCOL, jobs, contestant, lanes=2, opening=opening, **rest))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:head", "nonsense"])
def test_a_ray_that_is_not_there_is_said_at_once(address: str) -> None:
    with pytest.raises(UserError, match="can't be reached"), connected(address):
        pass


@pytest.mark.parametrize("make", [lambda: by(ExpertAgent), dancing], ids=["beside the environment", "for all at once"])
def test_rows_are_those_of_a_single_process(opening: LaneFactory, make: Callable[[], Contestant]) -> None:
    assert play(opening, make()) == comparable(evaluate(PROTOCOL, JOBS, make()))


def test_the_agent_decides_for_both_environments_in_one_batch(opening: LaneFactory) -> None:
    agent = players.Unhurried()
    play(opening, Contestant("dancing", agent=agent, device="cpu"), JOBS[:2])
    assert [0, 1] in agent.batches


def test_losing_workers_loses_no_episode(opening: LaneFactory) -> None:
    moments = [(JOBS[0], 7), (JOBS[-1], 3)]
    killed: list[int] = []

    class Killer(Observer):
        """Kills whoever plays, once in the first episode and once in the last."""

        def decided(self, job: Job, decisions: int) -> None:
            if (job, decisions) in moments:
                moments.remove((job, decisions))
                for pid in processes():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    rows = play(opening, dancing(), observer=Killer())
    assert not moments
    assert len(killed) >= 3
    assert rows == comparable(evaluate(PROTOCOL, JOBS, dancing()))


def processes() -> list[int]:
    """Ray's workers that play, by their titles."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if title.startswith("ray::") and "RemotePlayer" in title:
                found.append(int(entry.name))
    return found


def test_an_episode_that_kills_every_worker_gets_a_row(opening: LaneFactory) -> None:
    rows = play(opening, by(Dying), JOBS[:3])
    assert [row.seed for row in rows if row.error.startswith("WorkerDied")] == [1]
    assert [row.seed for row in rows if row.success_any] == [0, 2]


def test_errors_and_recordings_come_back(opening: LaneFactory) -> None:
    recordings: list[Recording] = []

    class Watch(Observer):
        def recorded(self, recording: Recording) -> None:
            recordings.append(recording)

    rows = play(opening, by(Stumbling), jobs_for(["reach-v3"], range(2), recorded_seed=0), observer=Watch())
    assert [row.error for row in rows] == ["", "RuntimeError: lost my way"]
    assert [(item.job.seed, item.frames.shape[1:]) for item in recordings] == [(0, (128, 128, 3))]


def test_a_second_connection_is_refused(opening: LaneFactory) -> None:
    with pytest.raises(UserError, match="already"), connected(LOCAL):
        pass
