"""RLBench in evaluations, against the stand-in."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.running.episode import Awaiting, Ended, Job, Player
from sfvgen_plan.cli import main
from sfvgen_plan.envs.rlbench.family import FORK_ONLY

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = ROOT / "benchmarks" / "protocols"


@pytest.mark.parametrize("suite", ["rlbench-data", "rlbench-wiw4", "rlbench-18", "rlbench-return"])
def test_pages_of_protocols_name_what_only_the_fork_has(suite):
    protocol = load_protocol(suite)
    page = (PROTOCOLS / f"{suite}.md").read_text()
    assert "omparable" in page
    assert all(task in page for task in FORK_ONLY if f"rlbench/{task}" in protocol.tasks)


@pytest.mark.usefixtures("fake_rlbench")
def test_the_expert_follows_rlbenchs_own_solution(tmp_path, capsys):
    command = ["eval", "--task", "rlbench/pick_and_lift", "--agent", "expert", "--episodes", "2", "--lanes", "1"]
    assert main([*command, "--out", str(tmp_path / "run"), "--json"]) == 0
    episodes = json.loads(capsys.readouterr().out)["episodes"]
    assert [episode["success_any"] for episode in episodes] == [True, True]


def test_an_episode_that_the_task_itself_ends_is_over(fake_rlbench):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", "step:2:lost")
    player = Player(load_protocol("rlbench-data"))
    still = np.zeros(7, np.float32)
    assert isinstance(player.start(Job("rlbench/reach_target", 0)), Awaiting)
    assert isinstance(player.act(still), Awaiting)
    ended = player.act(still)
    player.close()
    assert isinstance(ended, Ended)
    assert (ended.decisions, ended.first_success, ended.error) == (2, None, "")


def test_a_dead_simulator_is_a_row_and_the_evaluation_goes_on(fake_rlbench, tmp_path):
    fake_rlbench.setenv("FAKE_RLBENCH_FAULTS", "step:6:abort")
    command = ["eval", "--task", "rlbench/reach_target", "--agent", "random", "--episodes", "4", "--max-decisions", "4"]
    assert main([*command, "--lanes", "1", "--out", str(tmp_path / "run")]) == 0
    (file,) = (tmp_path / "run").glob("*.csv")
    errors = [row["error"] for row in csv.DictReader(file.open())]
    assert [bool(error) for error in errors] == [False, True, False, True]
    assert "exit code 134" in errors[1]
