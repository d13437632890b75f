"""The sweep: settings, drift and cost of memories, each with a row for every variant."""

import csv
import json
import time

import numpy as np
import pytest
import torch

from sfvgen_plan.benchmarks.memory import sweep
from sfvgen_plan.benchmarks.memory.revisit import Dream, TrueEpisode
from sfvgen_plan.benchmarks.memory.sweep import in_turns, main, peak_mb, rounds, spans
from sfvgen_plan.benchmarks.memory.sweep_rows import STUDIES, CostRow, cost_table
from sfvgen_plan.envs.memory.make import make_memory

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("short_episodes")


def run(study, folder, out, *options):
    """The study's rows in the file, and what it says."""
    known = ["--checkpoint", str(folder), "--device", "cpu", "--sampler-steps", "1", "--out", str(out), "--json"]
    assert main([study, *known, *options]) == 0
    with out.open() as file:
        return list(csv.DictReader(file))


def test_settings_are_compared_on_the_same_episodes(memory_folder, tmp_path, capsys):
    out = tmp_path / "settings.csv"
    rows = run("settings", memory_folder, out, "--episodes", "2", "steps=1", "learning_rate=0.1")
    names = ("no_temp_lora", "full,steps=1,learning_rate=0.1")
    assert [(row["memory"], row["episode"]) for row in rows] == [(n, seed) for n in names for seed in ("1000", "1001")]
    assert json.loads(capsys.readouterr().out) == rows
    quality = {row["memory"]: float(row["psnr_revisit_db"]) for row in rows}
    assert quality[names[0]] != quality[names[1]]
    again = run("settings", memory_folder, out, "--episodes", "1", "steps=1", "learning_rate=0.1")
    assert [row["memory"] for row in again] == list(names), "rows of a variant are replaced together"


def test_drift_is_measured_with_and_without(memory_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "spans", lambda episode, dream: spans(episode, dream, 32))
    rows = run("drift", memory_folder, tmp_path / "drift.csv", "--episodes", "1", "--decisions", "64", "steps=1")
    found = [(row["row"], row["episode"], row["decision"]) for row in rows]
    assert found == [(name, "1000", last) for name in ("no_temp_lora", "full,steps=1") for last in ("32", "64")]


def test_cost_is_measured_with_and_without(memory_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "CHUNKS", 1)
    rows = run("cost", memory_folder, tmp_path / "cost.csv", "--seconds", "0", "rank=2", "steps=1")
    assert [(row["steps"], row["memory"]) for row in rows] == [("1", "no_temp_lora"), ("1", "full,rank=2,steps=1")]
    assert all(float(row["seconds"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"), [(["rnk=3"], "rnk=3"), (["--row", "ful"], "full"), (["--seed", "99999"], "training data")]
)
def test_bad_input_is_one_line(memory_folder, tmp_path, capsys, options, message):
    known = ["--checkpoint", str(memory_folder), "--device", "cpu", "--out", str(tmp_path / "rows.csv")]
    assert main(["drift", *known, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "rows.csv").exists()


def test_a_path_followed_again_shows_the_same_again():
    env = make_memory("memory/revisit", size=32)
    frame, _ = env.reset(seed=3)
    frames, path = [frame], env.path
    decisions = len(path) + 12
    episode = TrueEpisode(3, np.stack([frame] * (len(path) + 1)), path, np.zeros((len(path) + 1, 10)), 10, np.zeros(0))
    again = rounds(episode, decisions)
    assert len(again.actions) == decisions == len(again.frames) - 1 == len(again.estimates) - 1
    for action in again.actions:
        frame, *_ = env.step(action)
        frames.append(frame)
    env.close()
    for t in range(len(path), decisions + 1):
        assert np.abs(frames[t].astype(int) - frames[t - len(path)]).max() <= 3


def test_means_of_a_span_are_its_own():
    truth = np.zeros((41, 4, 4, 3), np.uint8)
    truth[21:] = 100
    episode = TrueEpisode(0, truth, np.zeros((40, 4)), np.zeros((41, 10)), 10, np.zeros(0))
    dream = Dream(truth[11:].copy(), np.zeros((30, 10)))
    dream.frames[:10] = 50  # up to decision 20
    dream.estimates[10:, 0] = 0.02  # behind it
    first, second = spans(episode, dream, 20)
    wrong = 20 * np.log10(255 / 50)
    assert (first[0], first[1], first[3]) == (20, pytest.approx(wrong, abs=0.01), 0.0)
    assert (second[0], second[3]) == (40, pytest.approx(2.0))
    assert second[1] > 60 and first[2] > 60
    assert second[2] == pytest.approx(20 * np.log10(255 / 100), abs=0.01)


def test_variants_take_turns_and_the_median_counts():
    calls = []

    def sleeper(name, pauses):
        pauses = iter([0, 0, *pauses])  # two calls warm up

        def sample():
            calls.append(name)
            time.sleep(next(pauses, 0.001))

        return sample

    (a, _), (b, _) = in_turns([sleeper("a", [0.3]), sleeper("b", [0.02] * 3)], CPU, 0.0)
    assert calls == ["a"] * 2 + ["b"] * 2 + ["a", "b"] * 3
    assert a < 0.1 and b >= 0.02


@pytest.mark.gpu
def test_the_peak_is_that_of_the_call():
    device = torch.device("cuda")
    peaks = [peak_mb(lambda size=size: torch.ones(size, device=device), device) for size in (20_000_000, 2_000_000)]
    assert 70 < peaks[0] - peaks[1] < 75  # 80 MB and 8 MB of float32


def test_tables_say_what_a_memory_adds_and_gains():
    rows = [CostRow("3", "no_temp_lora", "2.0", "100", "GPU"), CostRow("3", "full", "3.0", "", "GPU")]
    _, _, (base, full) = cost_table(
        [
            *rows,
        ]
    )
    assert full == ("full", "3", "3.0", "", "+50.0 %", "", "GPU") and base[4:6] == ("", "")
    study = STUDIES["settings"]
    values = {"no_temp_lora": 20.0, "full,steps=4": 21.5}
    tried = [study.row("c", "3", m, str(n), str(value + n), "15", "2") for m, value in values.items() for n in range(2)]
    _, _, lines = study.table(tried)
    assert [line[0] for line in lines] == ["full,steps=4", "no_temp_lora"], "the best first"
    assert lines[0] == ("full,steps=4", "c", "3", "22.00", "+1.50 [+1.50, +1.50]", "2.00")
    study = STUDIES["drift"]
    _, _, lines = study.table([study.row("full", str(n), "100", str(20 + n), "12", "1", "c") for n in range(2)])
    assert lines == [("full", "100", "2", "20.5", "12.0", "1.0")]
