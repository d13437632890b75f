"""Evaluation on the real environment: the same rows in any number of processes, and failures."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from players import Dancing, Dying, Refusing, Stumbling, Unhurried

from sfvgen_plan.agents.expert import ExpertAgent
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.episodes import Job, Player
from sfvgen_plan.benchmarks.running.runner import Contestant, Observer, evaluate, jobs_for
from sfvgen_plan.errors import UserError

METAWORLD = load_protocol("metaworld-10")
JOBS = jobs_for(["toy/left"], range(3))

pytestmark = pytest.mark.usefixtures("toy")


def episodes(rows):
    """Rows in the order of the jobs, without what depends on time."""
    return [dataclasses.replace(row, plan_seconds=0) for row in sorted(rows, key=lambda row: (row.task, row.seed))]


def rules(decisions=4):
    return load_protocol("toy").variant(max_decisions=decisions)


def play(contestant, slots, observer=None, decisions=4):
    return episodes(evaluate(rules(decisions), JOBS, contestant, slots, observer))


def dancing():
    return Contestant("dancing", agent=Dancing(2))


def by(agent):
    return Contestant("somebody", env_agent=agent)


def test_the_expert_solves_its_tasks_and_lingers():
    jobs = jobs_for(["reach-v3"], range(3))
    rows = episodes(evaluate(METAWORLD, jobs, Contestant("expert", env_agent=ExpertAgent, device="cpu")))
    assert [(row.task, row.seed) for row in rows] == [(job.task, job.seed) for job in jobs]
    for row in rows:
        assert (row.success_any, row.success_final, row.error, row.device) == (True, True, "", "cpu")
        assert row.first_success is not None
        assert row.decisions == row.first_success + METAWORLD.linger
        assert 0 < row.return_ <= 10 * row.decisions


def test_a_reward_that_is_no_number_breaks_its_episode_off(monkeypatch):
    from toy_simulator import ToyEnv

    step = ToyEnv.step

    def odd(self, action):
        frame, _, *rest = step(self, action)
        return frame, float("nan"), *rest

    monkeypatch.setattr(ToyEnv, "step", odd)
    (row,) = evaluate(rules(), JOBS[:1], dancing())
    assert (row.error, row.return_) == ("ValueError: the environment's reward is nan", 0.0)


def test_an_episode_without_success_goes_to_the_limit_and_costs_are_per_decision_or_per_episode():
    (row,) = evaluate(rules(), JOBS[:1], dancing())
    assert (row.decisions, row.success_any, row.success_final, row.first_success) == (4, False, False, None)
    assert (row.plan_seconds, row.denoiser_calls, row.imagined_decisions) == (0.5, 12, 160)
    assert evaluate(rules(), [], dancing(), 8) == []


def test_a_success_that_is_undone_is_not_final():
    # Pulls the drawer open again after the expert has closed it.
    class Undoing(ExpertAgent):
        def act(self, env):
            self.solved = getattr(self, "solved", False) or env._latched
            return [0, -1, 0, 0] if self.solved else super().act(env)

    protocol = dataclasses.replace(METAWORLD, linger=40)
    (row,) = evaluate(protocol, [Job("reach-v3", 0)], Contestant("undoing", env_agent=Undoing))
    assert (row.success_any, row.success_final) == (True, False)


def test_rows_do_not_depend_on_slots():
    short, jobs = rules(), [*JOBS, Job("toy/right", 0)]
    alone = episodes(evaluate(short, jobs, dancing()))
    assert [(row.task, row.seed) for row in alone] == sorted((job.task, job.seed) for job in jobs)
    agent = Unhurried(2)
    assert episodes(evaluate(short, jobs, Contestant("dancing", agent=agent), 2)) == alone
    assert [0, 1] in agent.batches, "episodes side by side are decided on together"
    assert sum(map(len, agent.batches)) == 4 * len(jobs)
    recordings = []

    class Watch(Observer):
        def recorded(self, recording):
            recordings.append(recording)

    jobs[1] = dataclasses.replace(jobs[1], record=True)
    rows = evaluate(short, jobs, dancing(), 2, Watch())
    assert episodes(rows) == alone
    assert [(item.job, item.frames.shape) for item in recordings] == [(jobs[1], (5, 32, 32, 3))]


def test_an_error_beside_the_environment_becomes_a_row_and_the_run_goes_on():
    rows = play(by(Stumbling), 1, decisions=12)
    assert [row.error for row in rows] == ["", "RuntimeError: lost my way", ""]
    assert [row.success_any for row in rows] == [True, False, True]
    assert rows[1].decisions == 2


def test_an_episode_that_kills_its_processes_becomes_a_row():
    rows = play(by(Dying), 2, decisions=12)
    assert [row.error for row in rows] == ["", "WorkerDied: its process ended with exit code 3", ""]
    assert [row.success_any for row in rows] == [True, False, True]


def test_losing_a_process_loses_no_episode():
    class Killer(Observer):
        killed = False

        def decided(self, job, decisions):
            if not self.killed and decisions == 3:
                import multiprocessing

                for child in multiprocessing.active_children():
                    os.kill(child.pid or 0, signal.SIGKILL)
                    self.killed = True

    killer = Killer()
    assert play(dancing(), 2, observer=killer) == play(dancing(), 1)
    assert killer.killed


@pytest.mark.parametrize("slots", [1, 2])
def test_an_error_of_one_episode_leaves_the_rows_of_the_others_as_they_are(slots):
    expected = play(dancing(), 1)
    rows = play(Contestant("dancing", agent=Dancing(2, fails_on=("toy/left", 1))), slots)
    broken = rows.pop(1)
    del expected[1]
    assert rows == expected
    assert (broken.error, broken.success_any, broken.decisions) == ("RuntimeError: tripped", False, 1)


def test_bad_input_that_breaks_the_very_first_episode_ends_the_run_and_later_becomes_a_row():
    with pytest.raises(UserError, match="tripped"):
        evaluate(rules(), JOBS[1:], Contestant("x", agent=Dancing(2, ("toy/left", 1), UserError)))
    with pytest.raises(UserError, match="will not; give another"):
        evaluate(rules(12), JOBS[1:], by(Refusing))
    assert [row.error[:9] for row in play(by(Refusing), 1, decisions=12)] == ["", "UserError", ""]


def test_observers_hear_of_everything_in_time():
    heard = []

    class Listener(Observer):
        def decided(self, job, decisions):
            heard.append(f"decided {decisions}")

        def recorded(self, recording):
            heard.append(f"recorded {recording.frames.shape} {recording.success.tolist()}")

        def failed(self, job, details):
            heard.append(f"failed {job.seed} {'Traceback' in details}")

        def ended(self, row):
            heard.append(f"ended {row.seed}")

    jobs = jobs_for(["toy/left"], [0, 1], recorded_seed=0)
    evaluate(rules(), jobs, Contestant("dancing", agent=Dancing(2, ("toy/left", 1))), observer=Listener())
    assert heard == [
        *(f"decided {decisions}" for decisions in (1, 2, 3, 4)),
        "recorded (5, 32, 32, 3) [False, False, False, False, False]",
        "ended 0",
        "decided 1",
        "failed 1 True",
        "ended 1",
    ]


def test_interruption_passes_through_after_the_rows():
    seen = []

    class Impatient(Observer):
        def ended(self, row):
            seen.append(row.seed)
            if len(seen) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(dancing(), 2, Impatient())
    assert len(seen) == 2


def test_frames_are_only_rendered_for_agents_and_videos_that_see_them():
    player = Player(METAWORLD.variant(max_decisions=4), ExpertAgent)
    plain = player.start(Job("reach-v3", 0))
    recorded = player.start(Job("reach-v3", 0, record=True))
    player.close()
    assert plain.recording is None
    assert recorded.recording.frames.std() > 10


def test_processes_do_not_import_torch(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sfvgen_plan.benchmarks.running.collection import CollectionSettings, collect\n"
        "from sfvgen_plan.benchmarks.running.episodes import Job, Player\n"
        "from sfvgen_plan.benchmarks.protocols import load_protocol\n"
        "Player(load_protocol('metaworld-10')).start(Job('reach-v3', 0))\n"
        "collect(Path(sys.argv[1]) / 'set', CollectionSettings(('reach-v3',), 1, 1, size=16), 1)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
