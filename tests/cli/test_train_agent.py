"""``sfvgen-plan train-agent`` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest

from sfvgen_plan import cli
from sfvgen_plan.agents import training
from sfvgen_plan.benchmarks import protocols

pytestmark = pytest.mark.usefixtures("own_folder")
FEW = ("decisions=8", "num_envs=2", "horizon=4", "sampler_steps=1", "algo.n_steps=4", "algo.batch_size=8")
FEW_REAL = (*FEW[:3], *FEW[4:], "real=true")


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch):
    """An agent that has hardly learned anything would play real episodes to the protocol's limit; and for so few of
    them processes would take longer to start than to play."""
    monkeypatch.setattr(training, "cpu_cores", lambda: 1)
    whole = protocols.protocol_for_task
    monkeypatch.setattr(protocols, "protocol_for_task", lambda *of: whole(*of).variant(max_decisions=8))


def train(checkpoint, *options):
    return cli.main(["train-agent", "--checkpoint", str(checkpoint), "--device", "cpu", *options])


def test_learns_in_imagination_and_plays_in_the_real_simulator(tiny_checkpoint, said, refused):
    mine = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu")
    options = ("--task", "metaworld/reach-v3", *mine, "--out", "mine", *FEW)
    data = said("train-agent", *options, "--episodes", "1")
    assert data["agent"] == "ppo-imagined"
    (episode,) = data["episodes"]
    assert (episode["task"], episode["seed"], episode["error"]) == ("reach-v3", 0, "")
    assert episode["checkpoint"] == data["checkpoint"] != ""
    record = json.loads(Path("mine/train.json").read_text())
    assert record["settings"]["num_envs"] == 2
    assert record["decisions"] == 8 and record["seconds"] > 0
    assert record["checkpoint"] == data["checkpoint"]
    # The same agent again, from its file.
    (again,) = said("eval", "--task", "reach-v3", "--agent", "sb3:mine/agent.zip", "--episodes", "1", *mine)["episodes"]
    assert again["return"] == pytest.approx(episode["return"])
    # The same command again has nothing left to do; one more episode is played by the agent that is there.
    assert [row["seed"] for row in said("train-agent", *options, "--episodes", "2")["episodes"]] == [0, 1]
    line = refused("train-agent", *options, "algo.gamma=0.5")
    assert "algo.gamma=0.97, not algo.gamma=0.5" in line


def test_learns_in_the_real_simulator_to_compare(tiny_checkpoint, said):
    mine = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--out", "mine")
    data = said("train-agent", "--task", "drawer-close-v3", "--episodes", "1", *mine, *FEW_REAL)
    assert data["agent"] == "ppo-real"
    assert [(episode["seed"], episode["error"]) for episode in data["episodes"]] == [(0, "")]


def test_a_training_that_was_stopped_leaves_nothing(tiny_checkpoint, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(training._Report, "_on_step", stop)
    assert train(tiny_checkpoint, "--task", "reach-v3", "--out", "mine", "--episodes", "0", *FEW) == 130
    assert not Path("mine").exists()


def test_agents_that_see_pixels(tiny_checkpoint):
    """Stable-Baselines3 turns images; the agent takes frames as they are."""
    from sfvgen_plan.agents.registry import make_agent

    few = [*FEW, "obs_mode=pixels", "--episodes", "0", "--out", "pixels"]
    assert train(tiny_checkpoint, "--task", "reach-v3", *few) == 0
    agent = make_agent("sb3:pixels/agent.zip")
    agent.reset([0, 1], ["reach-v3"] * 2, [0, 1])
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    assert agent.act([0, 1], frames).shape == (2, 4)
