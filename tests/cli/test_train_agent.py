"""``sfvgen-plan train-agent`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sfvgen_plan import cli
from sfvgen_plan.agents import training
from sfvgen_plan.benchmarks.running import evaluation

torch.set_num_threads(1)
FEW = ("decisions=8", "num_envs=2", "horizon=4", "sampler_steps=1", "algo.n_steps=4", "algo.batch_size=8")
FEW_REAL = (*FEW[:3], *FEW[4:], "real=true")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that has hardly learned anything would play real episodes to the protocol's limit; and for so few of
    them processes would take longer to start than to play."""
    monkeypatch.setattr(training, "cpu_cores", lambda: 1)
    whole = evaluation.protocol_for_task
    monkeypatch.setattr(evaluation, "protocol_for_task", lambda *of: whole(*of).variant(max_decisions=8))


def train(checkpoint: Path, *options: str) -> int:
    return cli.main(["train-agent", "--checkpoint", str(checkpoint), "--device", "cpu", *options])


def refusal(capsys: pytest.CaptureFixture[str], checkpoint: Path, *options: str) -> str:
    assert train(checkpoint, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_learns_in_imagination_and_plays_in_the_real_simulator(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = train(tiny_checkpoint, "--task", "metaworld/reach-v3", "--episodes", "1", "--out", "mine", "--json", *FEW)
    assert code == 0
    data = json.loads(capsys.readouterr().out)
    assert data["agent"] == "ppo-imagined"
    (episode,) = data["episodes"]
    assert (episode["task"], episode["seed"], episode["error"]) == ("reach-v3", 0, "")
    assert episode["checkpoint"] == data["checkpoint"] != ""
    record = json.loads(Path("mine/train.json").read_text())
    assert record["settings"]["num_envs"] == 2
    assert record["decisions"] == 8 and record["seconds"] > 0
    assert record["checkpoint"] == data["checkpoint"]
    # The same agent again, from its file.
    options = ["--task", "reach-v3", "--agent", "sb3:mine/agent.zip", "--episodes", "1", "--json", "--device", "cpu"]
    assert cli.main(["eval", *options, "--checkpoint", str(tiny_checkpoint)]) == 0
    again = json.loads(capsys.readouterr().out)["episodes"][0]
    assert again["return"] == pytest.approx(episode["return"])
    # The same command again has nothing left to do; one more episode is played by the agent that is there.
    assert train(tiny_checkpoint, "--task", "reach-v3", "--episodes", "2", "--out", "mine", "--json", *FEW) == 0
    assert [row["seed"] for row in json.loads(capsys.readouterr().out)["episodes"]] == [0, 1]
    line = refusal(capsys, tiny_checkpoint, "--task", "reach-v3", "--out", "mine", *FEW, "algo.gamma=0.5")
    assert "algo.gamma=0.5, but the agent in 'mine' was trained with 0.97" in line


def test_learns_in_the_real_simulator_to_compare(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "drawer-close-v3", "--episodes", "1", "--out", "mine", "--json", *FEW_REAL]
    assert train(tiny_checkpoint, *options) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["agent"] == "ppo-real"
    assert [(episode["seed"], episode["error"]) for episode in data["episodes"]] == [(0, "")]


def test_a_training_that_was_stopped_leaves_nothing(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Report, "_on_step", stop)
    assert train(tiny_checkpoint, "--task", "reach-v3", "--out", "mine", "--episodes", "0", *FEW) == 130
    assert not Path("mine").exists()


def test_agents_that_see_pixels(tiny_checkpoint: Path) -> None:
    """Stable-Baselines3 turns images; the agent takes frames as they are."""
    from sfvgen_plan.agents.registry import make_agent

    few = [*FEW, "obs_mode=pixels", "--episodes", "0", "--out", "pixels"]
    assert train(tiny_checkpoint, "--task", "reach-v3", *few) == 0
    agent: Any = make_agent("sb3:pixels/agent.zip")
    agent.reset([0, 1], ["reach-v3"] * 2, [0, 1])
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    assert agent.act([0, 1], frames).shape == (2, 4)


def test_bad_input_is_one_line(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def line(*options: str) -> str:
        return refusal(capsys, tiny_checkpoint, *options)

    assert "did you mean ppo" in line("--task", "reach-v3", "--algo", "pppo")
    assert "task='push-v3' is not covered by checkpoint" in line("--task", "push-v3")
    assert "decisions" in line("--task", "reach-v3", "decision=4")
    assert "--algo" in line("--task", "reach-v3", "algo=sac")
    assert "num_envs=0" in line("--task", "reach-v3", "num_envs=0")
    assert "horizon=0" in line("--task", "reach-v3", "horizon=0")
    assert "reward_scale=nan" in line("--task", "reach-v3", "reward_scale=nan")
    assert "sampler_steps=2 has no meaning" in line("--task", "reach-v3", "real=true", "sampler_steps=2")
    assert "obs_mode='states'" in line("--task", "reach-v3", "obs_mode=states")
    assert "decisions=0 is too small" in line("--task", "reach-v3", "decisions=0")
    assert "algo='ppo' refuses its settings" in line("--task", "reach-v3", *FEW, "algo.n_steps=0")
    assert not list(Path().iterdir())
    Path("file").touch()
    assert "out='file' can't be written to" in line("--task", "reach-v3", "--out", "file", *FEW)
