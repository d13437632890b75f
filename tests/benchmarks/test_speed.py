"""Speed rows: one for each name and device, with the command that measures it again."""

import csv
from dataclasses import fields
from functools import partial

import pytest

from sfvgen_plan.benchmarks.report.readme import speed_section
from sfvgen_plan.benchmarks.speed import measurements
from sfvgen_plan.benchmarks.speed.__main__ import Row, main
from sfvgen_plan.benchmarks.speed.measurements import MEASUREMENTS, Measurement, imagined, run_program, vector
from sfvgen_plan.errors import UserError


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_replace_those_of_the_same_name_and_device(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows" / "speed.csv"
    options = ["--device", "cpu", "--out", str(path)]
    values = iter((1.0, 2.0, 3.0))
    for name in ("help_seconds", "step_cpu_ms"):
        monkeypatch.setitem(MEASUREMENTS, name, Measurement(lambda bench: next(values), "s", "cpu"))
    assert main(["--only", "step_cpu_ms", "help_seconds", *options]) == 0
    assert main(["--only", "help_seconds", "--checkpoint", "metaworld10", *options]) == 0
    assert [(row["name"], row["value"]) for row in read(path)] == [("help_seconds", "3"), ("step_cpu_ms", "2")]
    assert tuple(read(path)[0]) == tuple(field.name for field in fields(Row))
    command = "python -m sfvgen_plan.benchmarks.speed --only help_seconds --device cpu --checkpoint metaworld10"
    assert read(path)[0]["command"] == command
    assert "help_seconds" in capsys.readouterr().out
    assert "help_seconds" in speed_section(read(path))


def test_other_tables_are_not_overwritten(tmp_path, monkeypatch, capsys):
    path = tmp_path / "other.csv"
    path.write_text("task,f_g\nreach-v3,1\n")
    monkeypatch.setitem(MEASUREMENTS, "help_seconds", Measurement(lambda bench: 1.0, "s", "cpu"))
    assert main(["--only", "help_seconds", "--device", "cpu", "--out", str(path)]) == 2
    assert "other.csv" in capsys.readouterr().err
    assert path.read_text() == "task,f_g\nreach-v3,1\n"


def test_the_models_numbers(small_checkpoint, tmp_path, monkeypatch):
    small = {
        "imagined_2x3": partial(imagined, episodes=2, decisions=3),
        "vector_state_2": partial(vector, num_envs=2, obs_mode="state"),
        "plan": partial(measurements.plan, candidates=2, horizon=4),
        "memory_speedup_2": partial(measurements.memory_speedup, episodes=2),
    }
    for name, measure in small.items():
        monkeypatch.setitem(MEASUREMENTS, name, Measurement(measure, "-", "cpu"))
    path = tmp_path / "speed.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    assert main(["--only", *small, "--sampler-steps", "1", *options]) == 0
    assert {row["name"]: float(row["value"]) > 0 for row in read(path)} == dict.fromkeys(small, True)


def test_programs_are_measured_and_their_failure_is_told():
    seconds, gigabytes = run_program("--help")
    assert 0 < seconds < 20 and 0.005 < gigabytes < 2
    with pytest.raises(UserError, match=r"eval --task nowhere.*failed \(.*nowhere"):
        run_program("eval", "--task", "nowhere")


def test_unknown_measurements(tmp_path, capsys):
    assert main(["--only", "imagined_4096", "--out", str(tmp_path / "speed.csv")]) == 2
    assert "did you mean imagined_4096x1" in capsys.readouterr().err
    assert not (tmp_path / "speed.csv").exists()
