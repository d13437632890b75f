"""Episodes in the real environment: the same rows in any number of processes, here and on Ray, whatever happens."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from players import Dancing, Dying, Refusing, Stumbling, Unhurried

from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.contestant import Contestant
from sfvgen_plan.benchmarks.running.episode import Job, Player
from sfvgen_plan.benchmarks.running.play import jobs_for, play
from sfvgen_plan.benchmarks.running.ray_pool import LOCAL, connected
from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import open_pool

METAWORLD = load_protocol("metaworld-10")
JOBS = jobs_for(["toy/left"], range(3))

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture(scope="module", params=["processes", "ray"])
def opening(toy, request):
    if request.param == "processes":
        yield open_pool
        return
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        # The agents of these tests have to be found in Ray's workers.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]))
        with connected(LOCAL) as found:
            yield found


def rules(decisions=4):
    return load_protocol("toy").variant(max_decisions=decisions)


def rows_of(who, jobs=JOBS, slots=1, decisions=4, **rest):
    """Rows in the order of the jobs, without what depends on time."""
    rows = (played.row for played in play(rules(decisions), jobs, who, slots, **rest))
    return sorted((dataclasses.replace(row, plan_seconds=0) for row in rows), key=lambda row: row.key)


def dancing(*given):
    return Contestant("dancing", agent=Dancing(2, *given))


def by(agent):
    return Contestant("somebody", env_agent=agent)


def test_the_expert_solves_its_tasks_and_lingers():
    expert = Contestant("expert", None, ExpertAgent, device="cpu")
    for played in play(METAWORLD, jobs_for(["reach-v3"], range(2)), expert):
        row = played.row
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
    (row,) = rows_of(dancing(), JOBS[:1])
    assert (row.error, row.return_) == ("ValueError: the environment's reward is nan", 0.0)


def test_an_episode_without_success_goes_to_the_limit_and_costs_are_per_decision_or_per_episode():
    (played,) = play(rules(), JOBS[:1], dancing())
    row = played.row
    assert (row.decisions, row.success_any, row.success_final, row.first_success) == (4, False, False, None)
    assert (row.plan_seconds, row.denoiser_calls, row.imagined_decisions) == (0.5, 12, 160)
    assert rows_of(dancing(), [], 8) == []


def test_a_success_that_is_undone_is_not_final():
    # Pulls the drawer open again after the expert has closed it.
    class Undoing(ExpertAgent):
        def act(self, env):
            self.solved = getattr(self, "solved", False) or env._latched
            return [0, -1, 0, 0] if self.solved else super().act(env)

    protocol = dataclasses.replace(METAWORLD, linger=40)
    (played,) = play(protocol, [Job("reach-v3", 0)], by(Undoing))
    assert (played.row.success_any, played.row.success_final) == (True, False)


def test_rows_do_not_depend_on_slots_and_where_they_are(opening):
    jobs = [*JOBS, Job("toy/right", 0)]
    alone = rows_of(dancing(), jobs)
    assert [(row.task, row.seed) for row in alone] == [(job.task, job.seed) for job in jobs]
    agent = Unhurried(2)
    assert rows_of(Contestant("dancing", agent=agent), jobs, 2, opening=opening) == alone
    assert [0, 1] in agent.batches, "episodes side by side are decided on together"
    assert sum(map(len, agent.batches)) == 4 * len(jobs)


def test_recordings_and_errors_come_back(opening):
    jobs = jobs_for(["toy/left"], range(3), recorded_seed=0)
    found = sorted(play(rules(12), jobs, by(Stumbling), 2, opening=opening), key=lambda played: played.row.seed)
    assert [played.row.error for played in found] == ["", "RuntimeError: lost my way", ""]
    assert [played.row.success_any for played in found] == [True, False, True]
    assert ["Traceback" in played.details for played in found] == [False, True, False]
    assert found[1].row.decisions == 2
    recording = found[0].recording
    assert recording is not None and recording.frames.shape[1:] == (32, 32, 3)
    assert [played.recording for played in found[1:]] == [None, None]


def test_an_episode_that_kills_its_processes_becomes_a_row():
    rows = rows_of(by(Dying), slots=2, decisions=12)
    assert [row.error.partition(":")[0] for row in rows] == ["", "WorkerDied", ""]
    assert [row.success_any for row in rows] == [True, False, True]


def test_losing_processes_loses_no_episode(opening):
    killed = []

    def kill(job, decisions):
        if decisions == 3 and not killed:
            killed.extend(processes())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    assert rows_of(dancing(), slots=2, decided=kill, opening=opening) == rows_of(dancing())
    assert len(killed) == 2


def processes():
    """The workers that play: of this process, or Ray's by their titles."""
    found = [child.pid for child in multiprocessing.active_children() if child.pid]
    for entry in Path("/proc").iterdir() if not found else ():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Holder"):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:head", "nonsense"])
def test_a_ray_that_is_not_there_is_said_at_once(address):
    with pytest.raises(UserError, match="can't be reached"), connected(address):
        pass


@pytest.mark.parametrize("slots", [1, 2])
def test_an_error_of_one_episode_leaves_the_rows_of_the_others_as_they_are(slots):
    expected, rows = rows_of(dancing()), rows_of(dancing(("toy/left", 1)), slots=slots)
    broken = rows.pop(1)
    del expected[1]
    assert rows == expected
    assert (broken.error, broken.success_any, broken.decisions) == ("RuntimeError: tripped", False, 1)


def test_bad_input_that_breaks_the_very_first_episode_ends_the_run_and_later_becomes_a_row():
    with pytest.raises(UserError, match="tripped"):
        rows_of(dancing(("toy/left", 1), UserError), JOBS[1:])
    with pytest.raises(UserError, match="will not; give another"):
        rows_of(by(Refusing), JOBS[1:], decisions=12)
    assert [row.error[:9] for row in rows_of(by(Refusing), decisions=12)] == ["", "UserError", ""]


def test_every_action_is_told_and_each_episode_comes_as_soon_as_it_has_ended():
    heard = []
    for played in play(rules(), JOBS[:2], dancing(), decided=lambda job, count: heard.append(f"{job.seed} {count}")):
        heard.append(f"ended {played.row.seed}")
    assert heard == [*(f"0 {n}" for n in (1, 2, 3, 4)), "ended 0", *(f"1 {n}" for n in (1, 2, 3, 4)), "ended 1"]


def test_processes_end_with_the_iterator():
    playing = play(rules(), JOBS, dancing(), 2)
    assert next(playing).row and multiprocessing.active_children()
    playing.close()
    assert not multiprocessing.active_children()


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
        "from sfvgen_plan.benchmarks.running.episode import Job, Player\n"
        "from sfvgen_plan.benchmarks.protocols import load_protocol\n"
        "Player(load_protocol('metaworld-10')).start(Job('reach-v3', 0))\n"
        "collect(Path(sys.argv[1]) / 'set', CollectionSettings(('reach-v3',), 1, 1, size=16), 1)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
