"""Adding a simulator is one file: the toy one goes through every verb, and into the processes that they start."""

import json
from pathlib import Path

import minari
import numpy as np
import pytest

from sfvgen_plan.cli import main
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.envs import family


@pytest.fixture
def verb(toy, tmp_path, monkeypatch, capsys):
    """Function that runs a verb in an empty folder; what it says as JSON."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        assert main([*words, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def test_a_simulator_of_ones_own_goes_through_every_verb(verb):
    said = verb("collect", "--suite", "toy", "--out", "data", "--episodes", "8", "--workers", "2")
    assert (said["tasks"], said["episodes"], said["decisions"]) == (["toy/left", "toy/right"], 16, 16 * 12)
    toy, data = family.family("toy"), load_episodes("data")
    assert data.source == toy.source
    assert data.actions.shape[1:] == (2,) and set(data.kind) == {"clean", "noise0.3", "noise0.7", "random"}
    env = minari.MinariDataset("data").recover_environment()
    assert env.unwrapped.task == "toy/left"
    assert np.array_equal(env.reset(seed=int(data.seed[0]))[0], data.frames[0])

    verb("train", "--data", "data", "--out", "checkpoint", "train=tiny")
    card = json.loads(Path("checkpoint/checkpoint.json").read_text())
    assert card["readouts"] == list(toy.source.readouts)
    assert card["training"]["licence"] == toy.source.licence

    for agent, checkpoint in (("prior", ("--checkpoint", "checkpoint")), ("expert", ()), ("random", ())):
        said = verb(
            "eval", "--suite", "toy", "--agent", agent, "--episodes", "2", "--out", f"runs/{agent}", *checkpoint
        )
        assert len(said["episodes"]) == 4
        assert agent != "expert" or all(episode["success_any"] for episode in said["episodes"])
    standing = json.dumps(verb("leaderboard", "--store", "runs"))
    assert all(f'"{name}"' in standing for name in ("toy", "prior", "expert", "random"))
