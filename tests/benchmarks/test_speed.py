"""Speed rows: one for each name and device, with the command that measures it again."""

from functools import partial

import pytest

from sfvgen_plan.benchmarks.report.readme import block
from sfvgen_plan.benchmarks.results.files import read_rows
from sfvgen_plan.benchmarks.speed import measurements
from sfvgen_plan.benchmarks.speed.__main__ import main
from sfvgen_plan.benchmarks.speed.diamond import diamond_steps
from sfvgen_plan.benchmarks.speed.measurements import MEASUREMENTS, Measurement, SpeedRow
from sfvgen_plan.errors import UserError


def test_rows_replace_those_of_the_same_name_and_device(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows" / "speed.csv"
    options = ["--device", "cpu", "--out", str(path)]
    values = iter((1.0, 2.0, 3.0, 4.0))
    for name in ("plan_cpu_seconds", "step_cpu_ms"):
        monkeypatch.setitem(MEASUREMENTS, name, Measurement(lambda bench: next(values), "s", "cpu"))
    assert main(["--only", "step_cpu_ms", "plan_cpu_seconds", *options]) == 0
    assert main(["--only", "plan_cpu_seconds", "--sampler-steps", "2", *options]) == 0
    rows = read_rows(path, SpeedRow)
    assert [(row.name, row.value) for row in rows] == [("step_cpu_ms", "1"), ("plan_cpu_seconds", "3")]
    command = "python -m sfvgen_plan.benchmarks.speed --only plan_cpu_seconds --device cpu --sampler-steps 2"
    assert rows[1].command == command
    assert "plan_cpu_seconds" in capsys.readouterr().out
    assert "plan_cpu_seconds" in block("results", path.parent)

    path.write_text("task,f_g\nreach-v3,1\n")  # another table is not overwritten
    assert main(["--only", "plan_cpu_seconds", *options]) == 2
    assert "speed.csv" in capsys.readouterr().err
    assert path.read_text() == "task,f_g\nreach-v3,1\n"


def test_the_models_numbers(make_checkpoint, tmp_path, monkeypatch):
    small = {
        "imagined": partial(measurements.imagined, episodes=2, decisions=3),
        "vector": partial(measurements.vector, num_envs=2, obs_mode="state"),
        "plan": partial(measurements.plan, candidates=2, horizon=4),
        "step": lambda bench: bench.training[0],
        "share": lambda bench: bench.training[1],
        "speedup": partial(measurements.memory_speedup, episodes=2, decisions=2),
    }
    for name, measure in small.items():
        monkeypatch.setitem(MEASUREMENTS, name, Measurement(measure, "-", "cpu"))
    path = tmp_path / "speed.csv"
    remembering = make_checkpoint(transformer={"memory_blocks": [1]})
    options = ["--checkpoint", str(remembering), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    assert main(["--only", *small, "--recipe", "tiny", *options]) == 0
    found = {row.name: float(row.value) for row in read_rows(path, SpeedRow)}
    assert {name: value > 0 for name, value in found.items()} == dict.fromkeys(small, True)


def test_what_is_not_there_is_left_out_and_what_nobody_measures_refused(small_checkpoint, tmp_path, capsys):
    path = tmp_path / "speed.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--out", str(path)]
    assert main(["--only", "diamond_ratio", "memory_speedup_64", *options]) == 0
    assert capsys.readouterr().err.count("left out") == 2
    assert not path.exists()
    with pytest.raises(UserError, match="no checkout"):
        diamond_steps(tmp_path, "cpu", lambda call: 1.0)
    assert main(["--only", "imagined_4096", "--out", str(path)]) == 2
    assert "did you mean imagined_4096x1" in capsys.readouterr().err
    assert not path.exists()
