"""``sfvgen-plan eval`` as a user meets it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import imageio.v2 as imageio
import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results.files import read_rows
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Recorder, Store
from sfvgen_plan.benchmarks.running.side_by_side import REST
from sfvgen_plan.errors import UserError

PLAYERS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def players(own_folder, monkeypatch):
    monkeypatch.syspath_prepend(str(PLAYERS))


def evaluate(*options):
    return cli.main(["eval", *options])


def test_the_expert_solves_a_task_and_the_table_says_so(capsys):
    assert evaluate("--task", "metaworld/reach-v3", "--agent", "expert", "--lanes", "1") == 0
    captured = capsys.readouterr()
    assert "protocol metaworld-10" in captured.out
    assert "100 [57, 100]" in captured.out
    (rows,) = Path("runs").glob("*-reach-v3-expert/episodes.csv")
    assert [row.seed for row in read_rows(rows, EpisodeRow)] == [0, 1, 2, 3, 4]
    assert f"rows: {rows}" in captured.err
    said = " ".join(captured.out.splitlines()[-2:])
    assert said.startswith("expert solved 100 % of 5 episodes (95 % interval 57 to 100 %); a decision took ")
    assert " ms and imagined nothing, on CPU (" in said


def test_rows_under_other_rules_of_the_same_name_are_played_again_and_not_counted(capsys, said):
    known = ("--task", "reach-v3", "--agent", "expert", "--episodes", "1", "--lanes", "1", "--label", "[/x]")
    (played,) = said("eval", *known, "--store", "new.sqlite")["episodes"]
    with Store(Path("new.sqlite")) as new, Store(Path("all.sqlite"), create=True) as store:
        store.add(replace(row, protocol_hash="ffffffffffff", success_any=False, success_final=False,
                             first_success=None) for row in new.rows())  # fmt: skip
    (again,) = said("eval", *known, "--store", "all.sqlite")["episodes"]
    assert (again["success_any"], again["decisions"]) == (True, played["decisions"])
    assert evaluate(*known, "--store", "all.sqlite") == 0
    assert "[/x] · protocol metaworld-10" in capsys.readouterr().out  # brackets are no markup


@pytest.mark.parametrize("agent", ["prior", "cem"])
def test_learned_agents_play_with_a_checkpoint_and_json_holds_summaries_and_episodes(agent, tiny_checkpoint, said):
    changes = ["agent.iterations=1", "agent.candidates=3", "agent.elites=2"] if agent == "cem" else []
    known = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--task", "reach-v3", "--seed", "7")
    data = said("eval", *known, "--agent", agent, "--episodes", "2", "--max-decisions", "2", *changes)
    assert data["protocol"] == load_protocol("metaworld-10").variant(max_decisions=2, first_seed=7).id
    assert data["finished"] is True and data["summaries"][0]["success_any"]["count"] == 2
    assert [(row["seed"], row["decisions"], row["error"]) for row in data["episodes"]] == [(7, 2, ""), (8, 2, "")]
    episode = data["episodes"][0]
    assert {"return", "plan_seconds", "denoiser_calls", "imagined_decisions"} <= episode.keys()
    assert (episode["imagined_decisions"] > 0, episode["denoiser_calls"] > 0) == (agent == "cem", agent == "cem")
    assert len(episode["checkpoint"]) == 12
    assert set(episode["agent"].split("+")) == {agent, *(change.removeprefix("agent.") for change in changes)}


@pytest.mark.parametrize(("agent", "width"), [("expert", 384), ("prior", 768)])
def test_a_video_shows_the_first_episode_and_what_was_imagined_of_it(agent, width, tiny_checkpoint, capsys):
    options = ("--task", "reach-v3", "--agent", agent, "--episodes", "2", "--lanes", "1", "--out", "run")
    model = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--max-decisions", "4")
    assert evaluate(*options, *model, "--video", "seen.mp4") == 0
    assert "video: seen.mp4" in capsys.readouterr().err
    frames = list(imageio.get_reader("seen.mp4").iter_data())
    assert len(frames) == read_rows(Path("run/episodes.csv"), EpisodeRow)[0].decisions + REST
    assert frames[0].shape == (416, width, 3)
    assert [path.name for path in Path().glob("*.mp4")] == ["seen.mp4"]


@pytest.mark.slow
def test_the_demo_shows_imagination_at_work(capsys):
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert cli.main(shlex.split(re.findall(r"/sfvgen-plan (eval .*)", makefile)[0])) == 0
    told = capsys.readouterr()
    assert "video: demo.mp4" in told.err
    assert next(iter(imageio.get_reader("demo.mp4").iter_data())).shape == (416, 768, 3)
    assert re.search(r"solved 100 % of 1 episode .* [1-9]\d* calls of the denoiser", " ".join(told.out.split()))


def test_an_agent_of_ones_own_plays_by_module_and_name_and_resuming_plays_only_what_is_missing(said):
    options = ("--task", "reach-v3", "--agent", "players:Stumbling", "--lanes", "1", "--out", "run")
    data = said("eval", *options, "--episodes", "3")
    assert [episode["error"] for episode in data["episodes"]] == ["", "RuntimeError: lost my way", ""]
    assert "RuntimeError: lost" in (Path(data["folder"]) / "errors.log").read_text()
    data = said("eval", *options, "--episodes", "4")
    with Store(Path("run/results.sqlite")) as store:
        # Seed 3 is new, seed 1 broke off, and does so again.
        assert len({row.run for row in store.rows() if row.seed in (1, 3)}) == 1
        assert len({row.run for row in store.rows()}) == len(store.records()) == 2
    assert sorted(episode["seed"] for episode in data["episodes"]) == [0, 1, 2, 3]
    assert sorted(row.seed for row in read_rows(Path("run/episodes.csv"), EpisodeRow)) == [0, 1, 2, 3]


def test_a_store_holds_many_agents_and_only_what_is_missing_is_played(said, refused):
    options = ("--task", "reach-v3", "--episodes", "2", "--lanes", "1", "--store", "all.sqlite")
    said("eval", *options, "--agent", "expert")
    few = ("--max-decisions", "3", "--label", "mine")
    said("eval", *options, "--agent", "random", *few)
    assert "--label" in refused("eval", *options, "--agent", "expert", *few)  # other settings under the same name
    data = said("eval", *options, "--agent", "expert", "--episodes", "3")
    assert [episode["seed"] for episode in data["episodes"]] == [0, 1, 2]
    with Store(Path("all.sqlite")) as store:
        played = [(row.agent, row.seed) for row in store.rows()]
        assert played == [("expert", 0), ("expert", 1), ("mine", 0), ("mine", 1), ("expert", 2)]
        (record, *_) = store.records()
    assert record["versions"]["metaworld"] == "3.1.1"
    assert record["rules"]["camera"] == "corner4"
    assert {"git_commit", "started", "device", "settings", "command"} <= record.keys()
    assert not Path("runs").exists()


def finished_episodes(path):
    try:
        with Store(path, writable=False) as store:
            return len(store.rows())
    except UserError:  # it is only just being made
        return 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_keeps_finished_episodes_and_shows_them(sent, code, capsys, monkeypatch):
    append = Recorder.append

    def interrupted(self, row):
        append(self, row)
        if row.seed == 2:
            signal.raise_signal(sent)

    monkeypatch.setattr(Recorder, "append", interrupted)
    options = ("--task", "reach-v3", "--agent", "random", "--max-decisions", "2", "--lanes", "1", "--out", "run")
    try:
        ended = evaluate(*options)
    except SystemExit as error:
        ended = error.code
    assert ended == code
    assert [row.seed for row in read_rows(Path("run/episodes.csv"), EpisodeRow)] == [0, 1, 2]
    assert "reach-v3" in capsys.readouterr().out


def test_a_terminal_that_interrupts_all_processes_at_once_loses_nothing():
    options = ["--task", "reach-v3", "--agent", "players:Slow", "--episodes", "200", "--lanes", "2", "--out", "run"]
    command = [sys.executable, "-m", "sfvgen_plan.cli", "eval", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PLAYERS), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    path = Path("run/results.sqlite")
    deadline = time.monotonic() + 120
    while not (path.exists() and finished_episodes(path) >= 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = read_rows(Path("run/episodes.csv"), EpisodeRow)
    assert len(kept) >= 3
    assert not any(row.error for row in kept)
    assert "reach-v3" in output
    assert "Traceback" not in errors
