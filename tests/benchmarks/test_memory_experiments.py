"""Experiments beside the memory tables: which settings remember best, how long imaginations drift; merged rows."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sfvgen_plan.benchmarks.memory import drift as memory_drift
from sfvgen_plan.benchmarks.memory import rows as memory_rows
from sfvgen_plan.benchmarks.memory import settings as memory_settings
from sfvgen_plan.benchmarks.memory.revisit import Dream, TrueEpisode
from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, MemoryRows
from sfvgen_plan.envs.memory.tasks import TASKS, make_memory
from sfvgen_plan.model.checkpoint import CheckpointCard, save_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pipeline):
    """An untrained checkpoint of the memory tasks, for frames of 32 pixels."""
    path = tmp_path_factory.mktemp("memory") / "checkpoint"
    texts = ("reach the red goal", "push the puck to the green goal")
    card = CheckpointCard(dict(zip(TASKS, texts, strict=True)), size=32, camera="own", repeat=5)
    save_checkpoint(path, make_pipeline(), card, {task: torch.randn(2, 4, 8, 8) for task in TASKS})
    return path


def lines_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def options(folder, out):
    return ["--checkpoint", str(folder), "--device", "cpu", "--sampler-steps", "1", "--out", str(out), "--json"]


def test_settings_are_compared_on_the_same_episodes(folder, tmp_path, capsys):
    out = tmp_path / "settings.csv"
    arguments = ["--memory", "full,learning_rate=0.1", "--episodes", "2", "--seed", "1000", *options(folder, out)]
    assert memory_settings.main(arguments) == 0
    said = {line["memory"]: line for line in json.loads(capsys.readouterr().out)}
    assert said["no_temp_lora"]["gain_db"]["mean"] == 0.0
    changed = said["full,learning_rate=0.1"]
    gain = changed["psnr_revisit_db"] - said["no_temp_lora"]["psnr_revisit_db"]
    assert changed["gain_db"]["mean"] == pytest.approx(gain, abs=1e-3) and gain != 0.0
    rows = lines_of(out)
    assert [(row["memory"], row["episode"]) for row in rows] == [
        (memory, seed) for memory in ("no_temp_lora", "full,learning_rate=0.1") for seed in ("1000", "1001")
    ]
    before = out.stat().st_mtime_ns
    assert memory_settings.main(arguments) == 0
    assert out.stat().st_mtime_ns == before, "what is there is not measured again"


def test_bad_settings_are_one_line(folder, tmp_path, capsys):
    assert memory_settings.main(["--memory", "full,rnk=3", *options(folder, tmp_path / "rows.csv")]) == 2
    assert "rnk=3" in capsys.readouterr().err
    assert memory_drift.main(["--row", "ful", *options(folder, tmp_path / "rows.csv")]) == 2
    assert "full" in capsys.readouterr().err


def test_a_path_followed_again_shows_the_same_again():
    env = make_memory("memory/revisit", size=32)
    frame, info = env.reset(seed=3)
    frames, path = [frame], info["path"]
    decisions = len(path) + 12
    episode = TrueEpisode(3, np.stack([frame] * (len(path) + 1)), path, np.zeros((len(path) + 1, 10)), 10, np.zeros(0))
    again = memory_drift.rounds(episode, decisions)
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
    first, second = memory_drift.spans(episode, dream, 20)
    wrong = 20 * np.log10(255 / 50)
    assert (first[0], first[1], first[3]) == (20, pytest.approx(wrong, abs=0.01), 0.0)
    assert (second[0], second[3]) == (40, pytest.approx(2.0))
    assert second[1] > 60 and first[2] > 60
    assert second[2] == pytest.approx(20 * np.log10(255 / 100), abs=0.01)


def test_drift_is_measured_with_and_without(folder, tmp_path, capsys):
    out = tmp_path / "drift.csv"
    arguments = ["--episodes", "2", "--decisions", "64", "--span", "32", *options(folder, out)]
    assert memory_drift.main(arguments) == 0
    rows = lines_of(out)
    assert tuple(rows[0]) == memory_drift.COLUMNS
    assert [(row["row"], row["episode"], row["decision"]) for row in rows] == [
        (name, seed, last) for name in ("full", "no_temp_lora") for seed in "01" for last in ("32", "64")
    ]
    assert len(json.loads(capsys.readouterr().out)) == 8
    out.write_text(out.read_text().replace(rows[0]["checkpoint"], "another"))
    assert memory_drift.main(["--row", "full", *arguments, "--episodes", "1"]) == 0
    found = [(row["row"], row["episode"], row["checkpoint"]) for row in lines_of(out)]
    known = [("no_temp_lora", seed, "another") for seed in "0011"]
    assert found == known + [("full", "0", rows[0]["checkpoint"])] * 2, "no row is by two checkpoints"


VALUES = {"psnr_revisit_db": 20.0, "cosine_revisit": 0.5, "scene_cuts": 2}


def test_rows_measured_side_by_side_come_together(tmp_path, capsys):
    for name, row in (("a", "no_temp_lora"), ("b", "full")):
        rows = MemoryRows(tmp_path / name, REVISIT)
        rows.claim(row, {"checkpoint": name})
        for episode in range(2):
            rows.add(row, episode, VALUES)
        (tmp_path / name / "memory_features").mkdir()
        np.savez(tmp_path / name / "memory_features" / f"{row}-0.npz", x=np.ones(2))
    returned = MemoryRows(tmp_path / "b", RETURN)
    returned.claim("full", {"checkpoint": "b", "agent": "video"})
    returned.add("full", 0, {"distance_m": 0.1, "success_5cm": False})
    assert memory_rows.main([str(tmp_path / "a"), str(tmp_path / "b"), "--into", str(tmp_path / "all")]) == 0
    assert "5 rows" in capsys.readouterr().out
    whole = MemoryRows(tmp_path / "all", REVISIT)
    assert list(whole.rows) == [("full", 0), ("full", 1), ("no_temp_lora", 0), ("no_temp_lora", 1)]
    assert whole.settings("full") == {"checkpoint": "b"}
    assert len(list((tmp_path / "all" / "memory_features").iterdir())) == 2
    assert MemoryRows(tmp_path / "all", RETURN).rows[("full", 0)]["distance_m"] == 0.1
    other = MemoryRows(tmp_path / "c", REVISIT)
    other.claim("full", {"checkpoint": "c"})
    other.add("full", 5, VALUES)
    assert memory_rows.main([str(tmp_path / "c"), "--into", str(tmp_path / "all")]) == 2
    assert "checkpoint=b" in capsys.readouterr().err
    assert memory_rows.main([str(tmp_path), "--into", str(tmp_path / "all")]) == 2
    (tmp_path / "c" / "memory_revisit.json").unlink()
    assert memory_rows.main([str(tmp_path / "c"), "--into", str(tmp_path / "all")]) == 2
    assert "doesn't say in memory_revisit.json" in capsys.readouterr().err
    assert MemoryRows(tmp_path / "all", REVISIT).settings("full") == {"checkpoint": "b"}


def test_the_noise_learnt_from(monkeypatch, make_pipeline):
    """A step with ``log_mean`` 2 sees e^2 times the noise that it sees with 0."""
    from sfvgen_plan.memory.learning import FastLearning, learn
    from sfvgen_plan.memory.weights import fresh_memory
    from sfvgen_plan.model import diffusion

    pipeline, seeds, levels = make_pipeline(), torch.arange(2), []
    corrupt = diffusion.corrupt

    def noted(scheduler, latents, noise, level):
        levels.append(level)
        return corrupt(scheduler, latents, noise, level)

    monkeypatch.setattr(diffusion, "corrupt", noted)
    plain = FastLearning(rank=2)
    for settings in (plain, replace(plain, log_mean=2.0)):
        memory = fresh_memory(pipeline.unet, seeds, 2, 32.0)
        learn(pipeline.unet, pipeline.scheduler, memory, torch.randn(2, 3, 4, 8, 8), seeds, settings)
    torch.testing.assert_close(levels[1], levels[0] * float(np.e) ** 2)
