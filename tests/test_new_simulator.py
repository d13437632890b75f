"""Adding a simulator is one file: the toy one goes through every verb, and into the processes that they start."""

import json
from pathlib import Path

import minari
import numpy as np
import pytest

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.envs import family


@pytest.mark.usefixtures("toy", "own_folder")
def test_a_simulator_of_ones_own_goes_through_every_verb(said):
    told = said("collect", "--suite", "toy", "--out", "data", "--episodes", "8", "--workers", "2")
    assert told == {"out": "data", "tasks": ["toy/left", "toy/right"], "episodes": 16, "decisions": 16 * 12}
    toy, data = family.family("toy"), load_episodes("data")
    assert data.source == toy.source
    assert data.actions.shape[1:] == (2,) and set(data.kind) == {"clean", "noise0.3", "noise0.7", "random"}
    env = minari.MinariDataset("data").recover_environment()
    assert env.unwrapped.task == "toy/left"
    assert np.array_equal(env.reset(seed=int(data.seed[0]))[0], data.frames[0])

    said("train", "--data", "data", "--out", "checkpoint", "train=tiny")
    card = json.loads(Path("checkpoint/checkpoint.json").read_text())
    assert card["readouts"] == list(toy.source.readouts)
    assert card["training"]["licence"] == toy.source.licence

    for agent, checkpoint in (("prior", ("--checkpoint", "checkpoint")), ("expert", ()), ("random", ())):
        words = ("--suite", "toy", "--agent", agent, "--episodes", "2", "--out", f"runs/{agent}", *checkpoint)
        episodes = said("eval", *words)["episodes"]
        assert len(episodes) == 4
        assert agent != "expert" or all(episode["success_any"] for episode in episodes)
    standing = json.dumps(said("leaderboard", "--store", "runs"))
    assert all(f'"{name}"' in standing for name in ("toy", "prior", "expert", "random"))
