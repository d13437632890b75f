"""Candidates of the autoencoder, measured on held-out episodes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sfvgen_plan.benchmarks import autoencoders
from sfvgen_plan.benchmarks.autoencoders import Candidate, main, measure
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.learning.data import to_training_data

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, write_small_dataset: Callable[..., Path]) -> Path:
    return write_small_dataset(tmp_path_factory.mktemp("data") / "set", 20, 2)


def test_a_candidate_of_smaller_pictures_is_measured(dataset: Path, tmp_path: Path) -> None:
    data = to_training_data(load_episodes(dataset), torch.device("cpu"))
    measured = measure(data, Candidate(16, (8, 8, 8), 4), 1, tmp_path)
    assert list(measured) == ["psnr_db", "goal_error_cm", "object_error_cm", "hand_error_cm", "parameters"]
    assert all(0 < value < float("inf") for value in measured.values())
    assert {path.name for path in tmp_path.iterdir()} == {"autoencoder.pt", "heads.pt"}


def test_a_row_takes_the_place_of_the_one_before(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(autoencoders.CANDIDATES, "small", Candidate(16, (8, 8), 2))
    monkeypatch.setitem(autoencoders.CANDIDATES, "other", Candidate(16, (8, 8), 3))
    file = tmp_path / "rows.csv"
    options = ["--data", str(dataset), "--steps", "1", "--out", str(file)]
    for candidate in ("small", "other", "small"):
        assert main([*options, "--candidate", candidate, "--work", str(tmp_path)]) == 0
    with file.open(newline="") as lines:
        assert [(row["candidate"], row["steps"], row["device"]) for row in csv.DictReader(lines)] == [
            ("small", "1", "cpu"),
            ("other", "1", "cpu"),
        ]
    before = file.read_bytes()
    assert main([*options, "--candidate", "smal"]) == 2
    assert "did you mean small" in capsys.readouterr().err
    assert file.read_bytes() == before
