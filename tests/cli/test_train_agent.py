"""``sfvgen-plan train-agent`` as a user meets it."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from sfvgen_plan import cli
from sfvgen_plan.agents import resume, training
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
    line = refusal(capsys, tiny_checkpoint, "--task", "reach-v3", "--episodes", "1", "--out", "mine", *FEW)
    assert "holds an agent already" in line


def test_learns_in_the_real_simulator_to_compare(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "drawer-close-v3", "--episodes", "1", "--out", "mine", "--json", *FEW_REAL]
    assert train(tiny_checkpoint, *options) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["agent"] == "ppo-real"
    assert [(episode["seed"], episode["error"]) for episode in data["episodes"]] == [(0, "")]
    assert not list(Path("mine").glob("*.state"))


def test_a_real_training_that_was_stopped_is_not_taken_for_a_whole_one(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--task", "drawer-close-v3", "--out", "mine", "--episodes", "0", *FEW_REAL]

    def stop(self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training._Report, "_on_step", stop)
        assert train(tiny_checkpoint, *options) == 130
    assert PPO.load("mine/agent.zip").num_timesteps == json.loads(Path("mine/train.json").read_text())["decisions"] == 2
    capsys.readouterr()
    line = refusal(capsys, tiny_checkpoint, *options, "algo.gamma=0.5")
    assert "algo.gamma=0.5, but the training in 'mine' has 0.97" in line
    assert train(tiny_checkpoint, *options) == 0
    assert PPO.load("mine/agent.zip").num_timesteps == 8
    capsys.readouterr()
    assert "holds an agent already" in refusal(capsys, tiny_checkpoint, *options)


@pytest.mark.parametrize("only", ["sampler_steps=2", "futures=2", "uncertainty_penalty=0.5"])
def test_what_only_imagination_has_is_refused_in_the_real_simulator(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], only: str
) -> None:
    line = refusal(capsys, tiny_checkpoint, "--task", "reach-v3", "--out", "mine", "real=true", only)
    assert f"{only} has no meaning with real=True".lower() in line.lower() and "real=False" in line
    assert not Path("mine").exists()


LONG = ("--task", "reach-v3", "--episodes", "0", "decisions=32", *FEW[1:], "save_every=8")
"""Long enough to be killed on the way."""


def test_a_killed_training_goes_on(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, and it ends with the agent of a training that nobody killed."""
    options = ["--device", "cpu", "--checkpoint", str(tiny_checkpoint), *LONG]
    command = [sys.executable, "-m", "sfvgen_plan.cli", "train-agent", *options, "--out", "mine"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 240
        while not list(Path("mine/agent.state").glob("[0-9]*")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.005)
        process.kill()
        assert process.wait(timeout=20) == -signal.SIGKILL
    assert Path("mine/agent.state").is_dir()
    line = refusal(capsys, tiny_checkpoint, "--out", "mine", *LONG, "num_envs=4")
    assert "num_envs=4, but the training in 'mine' has 2" in line
    with monkeypatch.context() as patched:
        patched.setattr(logging.root, "handlers", [])  # as in a process of its own, where nothing else listens
        assert train(tiny_checkpoint, "--out", "mine", *LONG) == 0
    assert "going on with the training in mine/agent.state at decision" in capsys.readouterr().err
    assert json.loads(Path("mine/train.json").read_text())["decisions"] == 32
    assert not Path("mine/agent.state").exists()
    assert train(tiny_checkpoint, "--out", "whole", *LONG) == 0
    killed, whole = (PPO.load(f"{name}/agent.zip").get_parameters()["policy"] for name in ("mine", "whole"))
    assert all(torch.equal(killed[key], whole[key]) for key in whole)


def test_a_terminated_training_saves_what_it_has_learned(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = resume.SavedStates.save

    def terminated(*arguments: Any) -> None:
        save(*arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(resume.SavedStates, "save", terminated)
    with pytest.raises(SystemExit) as ended:
        train(tiny_checkpoint, "--out", "mine", *LONG)
    assert ended.value.code == 143
    assert Path("mine/agent.state").is_dir()
    assert 0 < PPO.load("mine/agent.zip").num_timesteps < 32
    assert json.loads(Path("mine/train.json").read_text())["decisions"] == PPO.load("mine/agent.zip").num_timesteps


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
    assert "uncertainty_penalty=0.5" in line("--task", "reach-v3", "uncertainty_penalty=0.5")
    assert "obs_mode='states'" in line("--task", "reach-v3", "obs_mode=states")
    assert "decisions=0 is too small" in line("--task", "reach-v3", "decisions=0")
    assert "save_every=-1 makes no sense" in line("--task", "reach-v3", "save_every=-1")
    assert "algo='ppo' refuses its settings" in line("--task", "reach-v3", *FEW, "algo.n_steps=0")
    assert not list(Path().iterdir())
    Path("file").touch()
    assert "out='file/train.json' can't be written to" in line("--task", "reach-v3", "--out", "file", *FEW)
