"""``sfvgen-plan bench memory``: its tables, going on after a stop, refusals."""

import csv
import json

import pytest

from sfvgen_plan.benchmarks.memory import ablation, bench, revisit
from sfvgen_plan.benchmarks.memory.ablation import RULES
from sfvgen_plan.benchmarks.memory.parts import ABLATION, PlayedRow, RevisitRow, rows_in
from sfvgen_plan.benchmarks.memory.tables import data
from sfvgen_plan.benchmarks.report.readme import block
from sfvgen_plan.cli import main

pytestmark = pytest.mark.usefixtures("short_episodes")


def run(out, *options):
    return main(["bench", "memory", "--device", "cpu", "--out", str(out), *options])


def test_all_tables(memory_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "DECISIONS", 2)
    monkeypatch.setattr(bench, "STEPS", (1, 2))
    options = ["--episodes", "1", "--seed", "23", "--agent", "players:still", "--json"]
    assert run(tmp_path, "--checkpoint", str(memory_folder), *options) == 0
    said = json.loads(capsys.readouterr().out)
    rows = ["temp_lora", "no_memory"]
    for part in ("revisit", "return", "cue"):
        assert [line["row"] for line in said[part]] == rows
        assert all(line["episodes"] == 1 for line in said[part])
    assert {line["agent"] for line in said["return"] + said["cue"]} == {"players:still"}
    assert [(line["steps"], line["memory"]) for line in said["cost"]] == [(s, row) for s in (1, 2) for row in rows]
    assert all(line["seconds"] > 0 for line in said["cost"])
    assert all((line["episode_mb"] > 0) is (line["memory"] != "no_memory") for line in said["cost"])
    assert len(said["comparisons"]) == 3
    for name, by in (("revisit", ""), ("return", " players:still"), ("cue", " players:still")):
        with (tmp_path / f"memory_{name}.csv").open() as file:
            lines = list(csv.DictReader(file))
        assert [(line["row"], line["episode"]) for line in lines] == [(row + by, "23") for row in rows]
        assert name != "revisit" or all(cell for line in lines for cell in line.values())


def test_the_ablation_chooses_its_rates_on_other_episodes_and_keeps_them(
    memory_folder, make_memory_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(bench, "DEVELOPMENT", range(1000, 1001))
    monkeypatch.setattr(ablation, "RATES", (0.1,))
    monkeypatch.setattr(ablation, "STEPS", (1,))
    options = ["--part", "ablation", "--checkpoint", str(memory_folder), "--no-loop", str(make_memory_folder("lora"))]
    options += ["--json"]
    assert run(tmp_path, *options, "--episodes", "1", "--seed", "23") == 0
    lines = json.loads(capsys.readouterr().out)["ablation"]
    assert [line["row"] for line in lines] == list(ABLATION)
    rows = rows_in(tmp_path, "revisit")
    measured = {rows.get(row, 23).psnr_revisit_db for row in ABLATION if row != "no_loop"}
    assert len(measured) == len(ABLATION) - 1, "every rule gives other frames"
    assert all((rows.made_with(row)["rate"], rows.made_with(row)["steps"]) == (0.1, 1) for row in RULES)
    monkeypatch.setattr(ablation.Ablated, "tuned", None)
    assert run(tmp_path, *options, "--episodes", "1", "--seed", "23") == 0


def test_long_dreams_are_scored_at_their_ends(memory_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(revisit, "LONG", 120)
    options = ["--part", "drift", "--checkpoint", str(memory_folder), "--episodes", "1", "--seed", "23"]
    assert run(tmp_path, *options) == 0
    rows = rows_in(tmp_path, "drift")
    assert {(row.row, row.episode) for row in rows} == {("temp_lora", 23), ("no_memory", 23)}
    assert all(None not in vars(row).values() for row in rows)


@pytest.mark.parametrize(("part", "agent"), [("return", "random"), ("return", "expert"), ("cue", "expert")])
def test_an_agent_without_memory_plays_once(part, agent, memory_folder, tmp_path):
    options = ["--checkpoint", str(memory_folder), "--part", part, "--agent", agent]
    assert run(tmp_path, *options, "--episodes", "1", "--seed", "1") == 0
    (row,) = rows_in(tmp_path, part)
    assert (row.row, row.episode) == (f"no_memory {agent}", 1)
    assert (row.distance_m < 0.02, row.success_5cm) == ((True, True) if agent == "expert" else (False, False))


def test_stopped_and_gone_on_with(memory_folder, tmp_path, capsys, monkeypatch):
    options = ("--checkpoint", str(memory_folder), "--part", "revisit", "--episodes", "1")
    assert run(tmp_path / "whole", *options) == 0
    done, score = [], revisit.revisit_row

    def killed(row, episode, dream, encoder):
        done.append((row, episode.seed))
        if len(done) == 2:
            raise KeyboardInterrupt
        return score(row, episode, dream, encoder)

    with monkeypatch.context() as patch:
        patch.setattr(revisit, "revisit_row", killed)
        assert run(tmp_path / "stopped", *options) == 130
    assert [(row.row, row.episode) for row in rows_in(tmp_path / "stopped", "revisit")] == done[:1]
    capsys.readouterr()
    assert run(tmp_path / "stopped", *options) == 0
    assert "shown before" in capsys.readouterr().out
    whole, stopped = (list(rows_in(tmp_path / folder, "revisit")) for folder in ("whole", "stopped"))
    assert whole == stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "99999"), "training data"),
        (("--no-loop", "nowhere", "--part", "ablation"), "no-loop='nowhere'"),
        (("--no-loop", "metaworld50"), "--part ablation"),
        (("--no-loop", "metaworld50", "--part", "ablation"), "no Temp-LoRA"),
        (("--part", "revisit", "agent.candidates=3"), "--part revisit"),
    ],
)
def test_bad_input_is_one_line(memory_folder, tmp_path, capsys, options, message):
    assert run(tmp_path / "out", "--checkpoint", str(memory_folder), *options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out" / "memory_revisit.csv").exists()


def test_rows_become_tables_and_those_of_other_names_are_history(tmp_path):
    assert block("results", tmp_path) == "No results are committed yet."
    rows, returned, cue = (rows_in(tmp_path, name) for name in ("revisit", "return", "cue"))
    for row, better in (("no_memory", 0), ("temp_lora", 1), ("old", 2)):
        for episode in range(3):
            rows.add(RevisitRow(row, episode, 20 + 4 * better, 0.9))
            scores = (episode, 0.12 - 0.05 * better, episode < 3 * better)
            returned.add(PlayedRow(f"{row} video", *scores))
            for agent in ("prior", "default+futures=2"):
                cue.add(PlayedRow(f"{row} {agent}", *scores))
    quality, metres, colour = block("results", tmp_path).split("**Memory: ")[1:]
    said = colour
    assert "| temp_lora | 3 | 24.00 [24.00, 24.00] | 90.00" in quality
    assert quality.index("temp_lora") < quality.index("no_memory") and "old" not in quality
    assert "SCuts" not in quality, "no column for what could not be had"
    assert "| video | no_memory | 3 | 0.120 [0.120, 0.120] | 0 [" in metres
    assert colour.index("| default+futures=2 | temp_lora |") < colour.index("| prior | temp_lora | 3 |")
    assert "+4.00 [+4.00, +4.00] dB" in said and "-0.050 [-0.050, -0.050] metres" in said
    assert "`temp_lora prior` against `no_memory`: +100 [+100, +100] points" in said
    found = data(tmp_path)
    assert [line["row"] for line in found["revisit"]] == ["temp_lora", "no_memory"]
    assert found["return"][0]["success_5cm"]["mean"] == 1.0 and found["cost"] == []
