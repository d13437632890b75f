"""Evaluation on Ray: the same rows, whatever happens to its workers."""

import dataclasses
import os
import signal
from pathlib import Path

import players
import pytest
from players import Dying, Stumbling

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.ray_pool import LOCAL, connected
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate, jobs_for
from sfvgen_plan.errors import UserError

ray = pytest.importorskip("ray")

JOBS = jobs_for(["toy/left"], range(3))


@pytest.fixture(scope="module")
def opening(toy):
    with pytest.MonkeyPatch.context() as patch:
        # The agents of these tests have to be found in Ray's workers.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]))
        with connected(LOCAL) as found:
            yield found


def rules():
    return load_protocol("toy").variant(max_decisions=5)


def by(agent):
    return Contestant("somebody", env_agent=agent, device="cpu")


def dancing():
    return Contestant("dancing", agent=players.Dancing(2), device="cpu")


def comparable(rows):
    return sorted((dataclasses.replace(row, plan_seconds=0) for row in rows), key=lambda row: row.key)


def play(opening, contestant, jobs=JOBS, **rest):
    return comparable(evaluate(rules(), jobs, contestant, slots=2, opening=opening, **rest))


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:head", "nonsense"])
def test_a_ray_that_is_not_there_is_said_at_once(address):
    with pytest.raises(UserError, match="can't be reached"), connected(address):
        pass


def test_rows_are_those_of_a_single_process(opening):
    agent = players.Unhurried(2)
    rows = play(opening, Contestant("dancing", agent=agent, device="cpu"))
    assert rows == comparable(evaluate(rules(), JOBS, dancing()))
    assert [0, 1] in agent.batches, "one agent decides for both environments in one batch"


def test_losing_workers_loses_no_episode(opening):
    killed = []

    class Killer(Observer):
        def decided(self, job, decisions):
            if decisions == 3 and not killed:
                for pid in processes():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    rows = play(opening, dancing(), observer=Killer())
    assert len(killed) == 2
    assert rows == comparable(evaluate(rules(), JOBS, dancing()))


def processes():
    """Ray's workers that play, by their titles."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if title.startswith("ray::Holder"):
                found.append(int(entry.name))
    return found


def test_errors_and_recordings_come_back_and_what_kills_every_worker_gets_a_row(opening):
    recordings = []

    class Watch(Observer):
        def recorded(self, recording):
            recordings.append(recording)

    jobs = jobs_for(["toy/left"], range(2), recorded_seed=0)
    rows = play(opening, by(Stumbling), jobs, observer=Watch())
    assert [row.error for row in rows] == ["", "RuntimeError: lost my way"]
    assert [(item.job.seed, item.frames.shape[1:]) for item in recordings] == [(0, (32, 32, 3))]
    rows = play(opening, by(Dying))
    assert [row.error.partition(":")[0] for row in rows] == ["", "WorkerDied", ""]
