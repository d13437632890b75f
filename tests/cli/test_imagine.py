"""``sfvgen-plan imagine``: real and imagined side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.benchmarks.running.side_by_side import REST


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def imagine(capsys: pytest.CaptureFixture[str], checkpoint: Path, *options: str) -> dict[str, Any]:
    common = ["--task", "reach-v3", "--checkpoint", str(checkpoint), "--device", "cpu", "--json"]
    assert cli.main(["imagine", *common, *options]) == 0
    return json.loads(capsys.readouterr().out)


def spans(data: dict[str, Any]) -> list[tuple[int, int]]:
    return [(chunk["first_decision"], chunk["last_decision"]) for chunk in data["spans"]]


@pytest.mark.parametrize("agent", ["expert", "prior"])
def test_writes_a_video_and_scores_it(agent: str, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = imagine(capsys, tiny_checkpoint, "--agent", agent, "--decisions", "9", "--out", "seen.mp4")
    assert spans(data) == [(1, 8), (9, 9)]
    assert all(0 < span["psnr_db"] < span["copy_psnr_db"] for span in data["spans"])
    frames = list(imageio.get_reader("seen.mp4").iter_data())
    assert len(frames) == 9 + REST
    assert frames[0].shape == (416, 768, 3)
    # Both halves begin with the same real frame.
    assert np.abs(frames[0][32:, :384].astype(int) - frames[0][32:, 384:].astype(int)).mean() < 3


def test_the_result_is_reproducible(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (
        imagine(capsys, tiny_checkpoint, "--decisions", "3", "--seed", seed)["spans"] for seed in ("3", "3", "4")
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--task", "raech-v3"], "reach-v3"),
        (["--task", "memory/return"], "not covered by checkpoint"),
        (["--task", "reach-v3", "--agent", "exprt"], "expert"),
        (["--task", "reach-v3", "--decisions", "0"], "--decisions"),
        (["--task", "reach-v3", "--out", "x.avi"], ".mp4"),
        (["--task", "reach-v3", "--checkpoint", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["imagine", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not list(Path().glob("*.mp4"))
