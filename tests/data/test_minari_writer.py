"""Other tools read the dataset."""

import minari
import numpy as np


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
    assert metadata[1]["instruction"] == "do push-v3"
    assert (metadata[1]["seed"], metadata[1]["camera"]) == (100_001, "corner4")
    assert (metadata[1]["size"], metadata[1]["repeat"]) == (20, 5)
