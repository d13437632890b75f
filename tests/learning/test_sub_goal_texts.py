"""Texts of sub-goals on their way from a dataset into the model and the checkpoint's card."""

import json

import h5py
import numpy as np
import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.minari_writer import DATA_FILE
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import to_training_data
from sfvgen_plan.model.checkpoint import load_checkpoint

LEFT, RIGHT = "push the square to the left", "shove the square to the right"
DECISIONS = 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_small_dataset):
    """reach-v3 has two sub-goals, in another order in every second episode; push-v3 has none."""
    folder = write_small_dataset(tmp_path_factory.mktemp("data") / "set", 30, DECISIONS)
    with h5py.File(folder / DATA_FILE, "r+") as file:
        for number in range(30):
            group = file[f"episode_{number}"]
            group.attrs["sub_goals"] = json.dumps([LEFT, RIGHT] if number % 4 < 2 else [RIGHT, LEFT])
            group["infos/sub_goal"] = np.arange(DECISIONS + 1) // 8
    return folder


def test_decisions_know_their_text(dataset):
    episodes = load_episodes(dataset)
    assert episodes.sub_goals == [LEFT, RIGHT]
    for e in range(len(episodes)):
        told = episodes.sub_goal[episodes.action_start[e] : episodes.action_start[e] + DECISIONS]
        expected = [0] * 8 + [1] * 4 if e % 4 < 2 else [1] * 8 + [0] * 4
        assert told.tolist() == (expected if e < 30 else [-1] * DECISIONS)
    # A dataset without has none.
    episodes = load_episodes(dataset, tasks=["push-v3"])
    assert episodes.sub_goals == [] and (episodes.sub_goal == -1).all()
    data = to_training_data(episodes, torch.device("cpu"))
    assert data.text.equal(data.task)


def test_frames_of_a_sub_goal_have_either_text(dataset):
    episodes = load_episodes(dataset)
    data = to_training_data(episodes, torch.device("cpu"))
    told = {"sub-goal": 0, "instruction": 0}
    for e in range(len(episodes)):
        start, action = int(episodes.episode_start[e]), int(episodes.action_start[e])
        assert data.text[start] == episodes.task[e]  # nothing led there
        for t in range(DECISIONS):
            text, goal = int(data.text[start + t + 1]), e < 30
            if text != episodes.task[e]:
                assert goal and text == len(episodes.tasks) + episodes.sub_goal[action + t]
            if goal:
                told["sub-goal" if text != episodes.task[e] else "instruction"] += 1
    assert 0.05 < told["instruction"] / sum(told.values()) < 0.15


def test_a_model_is_trained_on_them_and_says_so(dataset, tmp_path, train_in_steps):
    folder = train_in_steps(dataset, tmp_path / "out")
    checkpoint = load_checkpoint(folder)
    assert checkpoint.card.sub_goals == [LEFT, RIGHT]
    assert f"- {LEFT}" in (folder / "README.md").read_text()
    words = checkpoint.pipeline.tokenizer.tokenize(RIGHT)
    assert words == [word + "</w>" for word in RIGHT.split()]  # in its vocabulary, not spelt in letters
    with pytest.raises(UserError, match="sub-goals="):  # another run
        train_in_steps(dataset, folder, "tasks=[push-v3]")
