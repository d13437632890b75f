"""A staged episode: all of it or nothing."""

from dataclasses import fields, replace

import numpy as np
import pytest

from sfvgen_plan.data.staging import StagedEpisode


def test_round_trip(make_episode, tmp_path):
    _, episode = make_episode(3)
    episode.save(tmp_path / "episode.npz")
    loaded = StagedEpisode.load(tmp_path / "episode.npz")
    for field in fields(episode):
        before, after = getattr(episode, field.name), getattr(loaded, field.name)
        assert type(before) is type(after)
        assert np.array_equal(before, after)


def test_sub_goals_come_back_and_earlier_files_have_none(make_episode, tmp_path):
    _, episode = make_episode(3)
    path = tmp_path / "episode.npz"
    told = replace(episode, sub_goals=("go left", "come back"), sub_goal=np.array([0, 0, 0, 1, 1, 1, 1]))
    told.save(path)
    loaded = StagedEpisode.load(path)
    assert loaded.sub_goals == told.sub_goals
    assert np.array_equal(loaded.sub_goal, told.sub_goal)
    with np.load(path) as file:
        arrays = {name: values for name, values in file.items() if not name.startswith("sub_goal")}
    np.savez(path, **arrays)
    assert StagedEpisode.load(path).sub_goals == () and not len(StagedEpisode.load(path).sub_goal)


def test_a_failed_write_leaves_no_episode(make_episode, tmp_path, monkeypatch):
    _, episode = make_episode(3)

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        episode.save(tmp_path / "episode.npz")
    assert not (tmp_path / "episode.npz").exists()
