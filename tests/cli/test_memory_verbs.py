"""The memory tasks from the command line: collect, train, eval and bench, one after the other."""

import json

import pytest

from sfvgen_plan.cli import main
from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.envs.memory.family import TASKS, memory_env
from sfvgen_plan.model.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "memory"
    arguments = ["--suite", "memory", "--episodes", "2", "--size", "32", "--decisions", "14", "--workers", "1"]
    assert main(["collect", *arguments, "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def checkpoint(dataset, tmp_path_factory):
    """Trained on the data, for a few steps."""
    out = tmp_path_factory.mktemp("trained") / "checkpoint"
    assert main(["train", "--data", str(dataset), "--out", str(out), "train=tiny", "--quiet"]) == 0
    return out


def test_training_takes_the_data_as_it_is(dataset, checkpoint):
    assert load_episodes(dataset).tasks == list(TASKS)
    loaded = load_checkpoint(checkpoint)
    assert loaded.card.tasks == TASKS
    assert (loaded.camera, loaded.size, loaded.repeat) == ("own", 32, 5)


@pytest.mark.parametrize(
    ("task", "agent"), [("memory/return", "expert"), ("memory/revisit", "random"), ("memory/cue", "expert")]
)
def test_episodes_end_with_their_task(task, agent, tmp_path, capsys):
    arguments = ["--task", task, "--agent", agent, "--episodes", "1", "--seed", "23", "--out", str(tmp_path / "run")]
    assert main(["eval", *arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["protocol"] == "memory"
    (row,) = said["episodes"]
    assert not row["error"]
    env = memory_env(task, pixels=False)
    env.reset(seed=23)
    if agent == "expert":
        assert row["success_any"] and row["success_final"]
        assert row["decisions"] <= env.length
    else:
        assert row["decisions"] == env.length
        assert not row["success_any"]


def test_what_the_expert_does_is_imagined(checkpoint, tmp_path, capsys):
    task = "memory/return"
    options = ["--checkpoint", str(checkpoint), "--device", "cpu", "sampler_steps=1", "--decisions", "3"]
    assert main(["imagine", "--task", task, *options, "--out", str(tmp_path / "seen.mp4"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["task"], [span["last_decision"] for span in said["spans"]]) == (task, [3])
    assert (tmp_path / "seen.mp4").stat().st_size > 1000
