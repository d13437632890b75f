"""RLBench's tasks with a checkpoint of theirs, against the stand-in: the verbs that play and imagine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES

TASK = "rlbench/reach_target"

pytestmark = pytest.mark.usefixtures("fake_rlbench")


@pytest.fixture(scope="module")
def checkpoint(untrained_checkpoint: Callable[..., Path]) -> Path:
    """For actions of seven numbers."""
    return untrained_checkpoint(
        {TASK: "reach target"}, camera="front", repeat=1, action_dim=7, readouts=list(ESTIMATE_NAMES)
    )


def test_the_planner_plays_a_task(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--task", TASK, "--agent", "default", "--checkpoint", str(checkpoint), "--device", "cpu"]
    rules = ["--episodes", "1", "--max-decisions", "2", "--lanes", "1", "--out", str(tmp_path / "run"), "--json"]
    small = ["agent.acceptance.patience=0", "agent.candidates=8", "agent.horizon=2"]
    assert cli.main([*command, *rules, *small]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert episode["decisions"] == 2
    assert not episode["error"]
    assert episode["denoiser_calls"] > 0


def test_what_an_expert_does_is_imagined(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "seen.mp4"
    options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--sampler-steps", "1", "--json"]
    assert cli.main(["imagine", "--task", TASK, "--decisions", "3", "--chunk", "2", "--out", str(video), *options]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["task"], len(data["chunks"])) == (TASK, 2)
    assert len(list(imageio.get_reader(video).iter_data())) == 4


def test_given_actions_have_seven_numbers(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "actions.npy", np.zeros((2, 4)))
    options = ["--checkpoint", str(checkpoint), "--actions", str(tmp_path / "actions.npy")]
    assert cli.main(["imagine", "--task", TASK, *options]) == 2
    assert "an action of 7 numbers" in capsys.readouterr().err
    assert cli.main(["imagine", "--task", "rlbench/reach_targte"]) == 2
    assert "did you mean reach_target" in capsys.readouterr().err
