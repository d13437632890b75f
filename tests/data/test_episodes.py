"""Loading for training: flat arrays, subsets, one-line errors."""

import json

import minari
import numpy as np
import pytest

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.errors import UserError


@pytest.fixture
def dataset(tmp_path, make_episode, write_small_dataset):
    """Folder of a dataset, and its (frames, episode) in order: two tasks, three kinds, several lengths."""
    episodes = [
        make_episode(100_000, 6, "reach-v3", "clean"),
        make_episode(100_001, 3, "reach-v3", "random"),
        make_episode(100_002, 6, "reach-v3", "clean"),
        make_episode(100_000, 4, "push-v3", "clean"),
        make_episode(100_001, 6, "push-v3", "noise0.3"),
    ]
    return write_small_dataset(tmp_path / "set", episodes=[episode for _, episode in episodes]), episodes


def check(arrays, expected):
    """``arrays`` hold exactly the episodes ``expected``, in order."""
    assert len(arrays) == len(expected)
    for e, (frames, episode) in enumerate(expected):
        length = len(episode.actions)
        assert arrays.lengths[e] == length
        frame = slice(arrays.episode_start[e], arrays.episode_start[e] + length + 1)
        step = slice(arrays.action_start[e], arrays.action_start[e] + length)
        assert np.array_equal(arrays.frames[frame], frames)
        assert np.array_equal(arrays.state[frame], episode.state.astype(np.float32))
        assert np.array_equal(arrays.estimates[frame], episode.estimates)
        assert np.array_equal(arrays.actions[step], episode.actions)
        assert np.array_equal(arrays.expert_actions[step], episode.expert_actions[:-1])
        assert np.array_equal(arrays.reward[step], episode.rewards.astype(np.float32))
        assert np.array_equal(arrays.success[step], episode.success[1:])
        assert arrays.tasks[arrays.task[e]] == episode.task
        assert arrays.instructions[arrays.task[e]] == episode.instruction
        assert arrays.descriptions[e] == (episode.description or episode.instruction)
        assert (arrays.kind[e], arrays.seed[e]) == (episode.kind, episode.seed)
    assert len(arrays.frames) == sum(len(frames) for frames, _ in expected)
    assert len(arrays.actions) == sum(len(episode.actions) for _, episode in expected)


def test_everything(dataset):
    folder, episodes = dataset
    arrays = load_episodes(folder)
    check(arrays, episodes)
    assert (arrays.camera, arrays.size, arrays.repeat) == ("corner4", 32, 5)
    assert arrays.frames.dtype == np.uint8
    assert arrays.actions.dtype == arrays.reward.dtype == arrays.state.dtype == np.float32


def test_tasks_come_in_the_order_asked_for_and_the_first_of_each_if_asked(dataset):
    folder, e = dataset
    check(load_episodes(folder, tasks=["push-v3", "reach-v3"]), [e[3], e[4], e[0], e[1], e[2]])
    assert load_episodes(folder, tasks=["push-v3"]).tasks == ["push-v3"]
    check(load_episodes(folder, limit_per_task=1), [e[0], e[3]])
    with pytest.raises(UserError, match="no episodes"):
        load_episodes(folder, limit_per_task=0)
    with pytest.raises(UserError, match="push-v3"):
        load_episodes(folder, ["puhs-v3"])


def test_what_is_no_dataset_or_damaged_is_said(dataset, tmp_path):
    folder, _ = dataset
    with pytest.raises(UserError, match="sfvgen-plan collect"):
        load_episodes(tmp_path / "nowhere")
    file, metadata = folder / "main_data.hdf5", (folder / "metadata.json").read_text()
    for text, message in (("{", "damaged"), (json.dumps({"data_format": "hdf5"}), "not collected")):
        (folder / "metadata.json").write_text(text)
        with pytest.raises(UserError, match=message):
            load_episodes(folder)
    (folder / "metadata.json").write_text(metadata)
    garbled = bytearray(file.read_bytes())
    for start in range(len(garbled) - 40_000, len(garbled) - 1000, 100):
        garbled[start] ^= 0xFF
    for content in (bytes(garbled), file.read_bytes()[:3000]):
        file.write_bytes(content)
        with pytest.raises(UserError, match="collect it again"):
            load_episodes(folder)


def test_minari_reads_every_episode_and_knows_what_it_is(dataset):
    folder, episodes = dataset
    loaded = minari.MinariDataset(folder)
    assert (loaded.total_episodes, loaded.total_steps) == (5, 25)
    first = {name: values[0] for name, values in loaded[0].observations.items()}
    assert loaded.observation_space.contains(first) and loaded.action_space.contains(loaded[0].actions[0])
    for read, (frames, episode) in zip(loaded, episodes, strict=True):
        assert np.array_equal(read.observations["pixels"], frames)
        assert np.array_equal(read.observations["state"], episode.state)
        assert np.array_equal(read.actions, episode.actions)
        assert np.array_equal(read.rewards, episode.rewards)
        assert np.array_equal(read.infos["expert_action"], episode.expert_actions)
        assert np.array_equal(read.infos["success"], episode.success)
        assert np.array_equal(read.infos["estimates"], episode.estimates)
        assert not read.terminations.any()
        assert read.truncations.tolist() == [False] * (len(read.actions) - 1) + [True]
    metadata = list(loaded.storage.get_episode_metadata([1, 4]))
    assert [episode["kind"] for episode in metadata] == ["random", "noise0.3"]
    assert metadata[1]["task"] == "push-v3"
    assert metadata[1]["instruction"] == "push the puck to the green goal"
    assert (metadata[1]["seed"], metadata[1]["camera"]) == (100_001, "corner4")
    assert (metadata[1]["size"], metadata[1]["repeat"]) == (32, 5)
