"""Speed rows: one for each name and device, with the command that makes it again."""

import csv
import shlex

import pytest

from sfvgen_plan.benchmarks import speed, throughput
from sfvgen_plan.benchmarks.report.readme import speed_section
from sfvgen_plan.benchmarks.speed import COLUMNS, Row, main, merge, run_program
from sfvgen_plan.errors import UserError


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_replace_those_of_the_same_name_and_device(tmp_path):
    path = tmp_path / "results" / "speed.csv"
    merge(path, [Row("a", "CPU, 2 cores", "1", "s", "old"), Row("b", "CPU, 2 cores", "2", "s", "old")])
    merge(path, [Row("a", "CPU, 2 cores", "3", "s", "new"), Row("a", "GPU", "4", "s", "new")])
    assert [(row["name"], row["device"], row["value"]) for row in read(path)] == [
        ("a", "CPU, 2 cores", "3"),
        ("b", "CPU, 2 cores", "2"),
        ("a", "GPU", "4"),
    ]
    assert [file.name for file in path.parent.iterdir()] == ["speed.csv"]


def test_other_tables_are_not_overwritten(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("task,f_g\nreach-v3,1\n")
    with pytest.raises(UserError, match=r"other\.csv"):
        merge(path, [Row("a", "CPU", "1", "s", "new")])
    assert path.read_text() == "task,f_g\nreach-v3,1\n"


def test_help_and_model_are_measured(small_checkpoint, tmp_path, capsys):
    path = tmp_path / "speed.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    assert main(["--only", "help", "imagine", "--batch", "2", *options]) == 0
    rows = {row["name"]: row for row in read(path)}
    assert tuple(rows["help_seconds"]) == COLUMNS
    assert 0 < float(rows["help_seconds"]["value"]) < 10
    assert rows["imagined_decisions"]["unit"] == "decisions/s"
    command = shlex.split(rows["imagined_decisions"]["command"])
    assert command[:5] == ["python", "-m", "sfvgen_plan.benchmarks.speed", "--only", "imagine"]
    assert command[-2:] == ["--batch", "2"]
    assert "imagined_decisions" in capsys.readouterr().out
    assert "help_seconds" in speed_section(list(rows.values()))


def test_batches_are_measured_beside_what_they_replace(small_checkpoint, tmp_path):
    path = tmp_path / "speed.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    assert main(["--only", "vector", "memory", "--batch", "2", "--sampler-steps", "1", *options]) == 0
    rows = {row["name"]: row for row in read(path)}
    names = ["vector_env_2", "sync_vector_env_2", "memory_chunk_2", "memory_chunk_2_peft", "memory_speedup_2"]
    assert list(rows) == [*names, "memory_per_episode"]
    assert all(float(row["value"]) > 0 for row in rows.values())
    seconds = (float(rows[name]["value"]) for name in ("memory_chunk_2_peft", "memory_chunk_2"))
    assert float(rows["memory_speedup_2"]["value"]) == pytest.approx(next(seconds) / next(seconds), rel=1e-2)
    assert shlex.split(rows["memory_chunk_2"]["command"])[-4:] == ["--batch", "2", "--sampler-steps", "1"]


def test_of_single_environments_a_few_are_enough(small_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "MOST_SINGLES", 1)
    path = tmp_path / "speed.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    assert main(["--only", "vector", "--batch", "2", "--sampler-steps", "1", *options]) == 0
    assert [row["name"] for row in read(path)] == ["vector_env_2", "sync_vector_env_1"]


def test_ways_to_spread_out_are_measured_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.delitem(throughput.WAYS, "ray_2")  # takes as long to start as all the rest
    path = tmp_path / "speed.csv"
    assert main(["--only", "workers", "--agent", "expert", "--episodes", "2", "--out", str(path)]) == 0
    rows = {row["name"]: row for row in read(path)}
    assert list(rows) == ["expert_workers_1", "expert_workers_2"]
    assert all(0 < float(row["value"]) < 1000 and row["unit"] == "episodes/min" for row in rows.values())
    command = shlex.split(rows["expert_workers_1"]["command"])
    assert command[3:] == ["--only", "workers", "--agent", "expert", "--episodes", "2"]


def test_unknown_measurements(tmp_path, capsys):
    assert main(["--only", "imagin", "--out", str(tmp_path / "speed.csv")]) == 2
    assert "did you mean imagine?" in capsys.readouterr().err
    assert not (tmp_path / "speed.csv").exists()


def test_a_program_that_fails_is_an_error():
    with pytest.raises(UserError, match=r"eval --task nowhere.*failed \(.*nowhere"):
        run_program(["eval", "--task", "nowhere"])
