"""The cost of memory: a row for every number of steps and every memory, with and without."""

import csv
import time
from dataclasses import replace

import pytest
import torch

from sfvgen_plan.benchmarks.memory.cost import COLUMNS, WARM_UP, Row, main, measure, merge, parse_memory, peak_mb, table
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.learning import FastLearning

CPU = torch.device("cpu")


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_generation_is_measured_with_and_without(small_checkpoint, tmp_path, capsys):
    path = tmp_path / "memory_cost.csv"
    options = ["--checkpoint", str(small_checkpoint), "--device", "cpu", "--seconds", "0", "--out", str(path)]
    sizes = ["--chunks", "2", "--chunk", "3", "--batch", "2", "--steps", "1", "2"]
    assert main(["--memory", "full,rank=2", *sizes, *options]) == 0
    rows = read(path)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["steps"], row["memory"]) for row in rows] == [
        (steps, memory) for steps in ("1", "2") for memory in ("no_temp_lora", "full,rank=2")
    ]
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert all(float(row["peak_mb"]) > 50 for row in rows if row["peak_mb"])
    assert "full,rank=2" in capsys.readouterr().out


def test_variants_take_turns_and_the_median_counts():
    calls = []

    def sleeper(name, pauses):
        pauses = iter(pauses)

        def sample():
            calls.append(name)
            time.sleep(next(pauses, 0.001))

        return sample

    before = [0] * (WARM_UP + 1)  # the last of them is the one whose peak is taken
    results = measure([sleeper("a", [*before, 0.3]), sleeper("b", [*before, 0.02, 0.02, 0.02])], CPU, 0.0)
    assert calls == ["a"] * len(before) + ["b"] * len(before) + ["a", "b"] * 3
    (a, _), (b, _) = results
    assert a < 0.1
    assert b >= 0.02


def test_the_peak_is_that_of_the_call():
    sizes = [20_000_000, 2_000_000]
    peaks = [peak_mb(lambda size=size: torch.ones(size).sum(), CPU) for size in sizes]
    if None in peaks:
        pytest.skip("this system doesn't tell")
    assert 50 < peaks[0] - peaks[1] < 100  # 80 MB and 8 MB of float32


def test_rows_replace_those_of_the_same_variant_and_device(tmp_path):
    path = tmp_path / "results" / "cost.csv"
    merge(path, [Row("3", "full", "1", "10", "CPU"), Row("50", "full", "2", "10", "CPU")])
    merge(path, [Row("3", "full", "4", "10", "CPU"), Row("3", "full", "5", "", "GPU")])
    assert [(row["steps"], row["seconds"], row["device"]) for row in read(path)] == [
        ("3", "4", "CPU"),
        ("50", "2", "CPU"),
        ("3", "5", "GPU"),
    ]
    other = tmp_path / "other.csv"
    other.write_text("name,value\n")
    with pytest.raises(UserError, match=r"other\.csv"):
        merge(other, [])


def test_the_table_says_what_a_memory_adds():
    text = table([Row("3", "no_temp_lora", "2.0", "100", "CPU"), Row("3", "full", "3.0", "", "CPU")])
    assert "time +50.0 %, memory -" in text
    assert "%" not in text.splitlines()[0]


def test_memories_are_named_by_rows_and_settings():
    assert parse_memory("no_temp_lora") is None
    full = FastLearning(learning_rate=3e-3, steps=4)
    assert parse_memory("full") == full
    changed = parse_memory("full,window=4,targets=a+b.*.c,learning_rate=1e-3")
    assert changed == replace(full, window=4, targets=("a", "b.*.c"), learning_rate=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fool", "row"),
        ("full,windows=4", "windows"),
        ("full,window=x", "window=x"),
        ("no_temp_lora,rank=2", "no memory"),
    ],
)
def test_what_no_memory_is_called_is_refused(text, message, capsys):
    assert main(["--memory", text]) == 2
    assert message in capsys.readouterr().err
