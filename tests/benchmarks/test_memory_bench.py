"""``sfvgen-plan bench memory``: both tables, going on after a stop, refusals."""

import csv
import dataclasses
import json

import pytest

from sfvgen_plan.benchmarks.memory import bench as memory_bench
from sfvgen_plan.benchmarks.memory.bench import RevisitBench
from sfvgen_plan.benchmarks.memory.rows import COLUMNS, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.cli import main
from sfvgen_plan.errors import UserError
from sfvgen_plan.metrics.toolbox import Toolbox

pytestmark = pytest.mark.usefixtures("short_episodes")


def run(folder, out, *options):
    known = ["--checkpoint", str(folder), "--device", "cpu", "sampler_steps=1", "--out", str(out)]
    return main(["bench", "memory", *known, *options])


def test_both_tables(memory_folder, encoder, tmp_path, capsys):
    rows = ("--row", "no_temp_lora", "--row", "full")
    options = (*rows, "--episodes", "1", "--seed", "23", "chunk=24", "--encoder", str(encoder))
    assert run(memory_folder, tmp_path, *options, "--agent", "players:still", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [line["row"] for line in said["consistency"]] == ["full", "no_temp_lora"]
    assert all(line["episodes"] == 1 and line["frechet"] > 0 for line in said["consistency"])
    assert [line["row"] for line in said["planning"]] == ["full", "no_temp_lora"]
    assert len(said["comparisons"]) == 4
    for name in (REVISIT, RETURN, VIDEO):
        with (tmp_path / f"{name}.csv").open() as file:
            lines = list(csv.DictReader(file))
        assert tuple(lines[0]) == COLUMNS[name]
        assert [(line["row"], line["episode"]) for line in lines] == [("no_temp_lora", "23"), ("full", "23")]
    with (tmp_path / "memory_revisit.csv").open() as file:
        assert all(cell for line in csv.DictReader(file) for cell in line.values())
    (video,) = tmp_path.glob("memory_revisit_seed23_*.mp4")
    assert video.stat().st_size > 1000


def test_videos_of_two_checkpoints_show_both_and_are_kept_apart(memory_checkpoint, tmp_path, monkeypatch):
    other = dataclasses.replace(memory_checkpoint, path=tmp_path / "other")
    other.__dict__["hash"] = "another"
    asked = []
    simulator_of = memory_bench.simulator_of
    monkeypatch.setattr(
        memory_bench,
        "simulator_of",
        lambda who, row, steps: asked.append((who, row)) or simulator_of(who, "no_temp_lora", steps),
    )
    monkeypatch.setattr(memory_bench, "write_mp4", lambda path, frames: path.touch())
    names = []
    for without in (None, other, other):
        bench = RevisitBench(memory_checkpoint, tmp_path, Toolbox(), 1, 24, without=without)
        names += [path.name for path in bench.film([23])]
        bench.close()
    own = memory_checkpoint.hash
    assert names[0] == f"memory_revisit_seed23_{own}.mp4"
    assert names[1] == names[2] == f"memory_revisit_seed23_{own}-another.mp4"
    known = memory_checkpoint
    assert asked == [(known, "full"), (known, "no_temp_lora"), (known, "full"), (other, "no_temp_lora")]
    with pytest.raises(UserError, match=r"without=.*16 pixels"):
        RevisitBench(
            memory_checkpoint, tmp_path, Toolbox(),
            without=dataclasses.replace(other, card=dataclasses.replace(other.card, size=16)),
        )  # fmt: skip


def test_the_packages_own_encoder_is_taken_where_there_is_one(memory_folder, encoder, tmp_path, capsys, monkeypatch):
    options = [
        "--row",
        "no_temp_lora",
        "--part",
        "revisit",
        "--videos",
        "0",
        "chunk=24",
        "--episodes",
        "1",
        "--json",
    ]
    for there, columns in ((tmp_path / "nowhere", 0), (encoder, 1)):
        monkeypatch.setattr("sfvgen_plan.metrics.encoder.BUNDLED", there)
        assert run(memory_folder, tmp_path / "rows", *options) == 0
        (line,) = json.loads(capsys.readouterr().out)["consistency"]
        assert ("cosine_revisit" in line, "frechet" in line) == (bool(columns),) * 2


def test_stopped_and_gone_on_with(memory_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sfvgen_plan.metrics.encoder.BUNDLED", tmp_path / "nowhere")
    options = ("--row", "no_temp_lora", "--part", "revisit", "--videos", "0", "chunk=24")
    assert run(memory_folder, tmp_path / "whole", *options, "--episodes", "2") == 0
    done = []

    store = RevisitBench._store

    def killed(self, *given):
        done.append(given)
        if len(done) == 2:
            raise KeyboardInterrupt
        store(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(RevisitBench, "_store", killed)
        assert run(memory_folder, tmp_path / "stopped", *options, "--episodes", "2") == 130
    assert list(MemoryRows(tmp_path / "stopped", REVISIT).rows) == [("no_temp_lora", 0)]
    capsys.readouterr()
    assert run(memory_folder, tmp_path / "stopped", *options, "--episodes", "2") == 0
    captured = capsys.readouterr()
    assert "1 of 2 episodes are there already" in captured.err
    assert "no video encoder was given" in captured.err
    assert "shown before" in captured.out
    whole, stopped = ((tmp_path / name / "memory_revisit.csv").read_text() for name in ("whole", "stopped"))
    assert whole == stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--row", "ful"), "full"),
        (("chunk=40",), "chunk=40"),
        (("--seed", "99999"), "training data"),
        (("--agent", "expert"), "rows don't differ"),
        (("--encoder", "nowhere"), "encoder='nowhere'"),
        (("--part", "revisit", "agent.candidates=3"), "--part revisit"),
        (("--part", "return", "--without", "metaworld10"), "--part return"),
        (("--without", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_line(memory_folder, tmp_path, capsys, options, message):
    assert run(memory_folder, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out" / "memory_revisit.csv").exists()
