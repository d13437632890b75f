"""A staged episode: all of it or nothing."""

from dataclasses import fields, replace

import numpy as np
import pytest

from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize("told", [{}, {"sub_goals": ("go", "come back"), "sub_goal": np.array([0, 0, 0, 1])}])
def test_round_trip(make_episode, tmp_path, told):
    episode = replace(make_episode(3)[1], **told)
    episode.save(tmp_path / "episode.npz")
    loaded = StagedEpisode.load(tmp_path / "episode.npz")
    for field in fields(episode):
        before, after = getattr(episode, field.name), getattr(loaded, field.name)
        assert type(before) is type(after)
        assert np.array_equal(before, after)


def array_instead(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(path.read_bytes()[:500]),
        lambda path: np.savez(path, task="reach-v3"),
        array_instead,
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(make_episode, tmp_path, damage):
    _, episode = make_episode(3)
    path = tmp_path / "episode.npz"
    episode.save(path)
    damage(path)
    with pytest.raises(UserError, match=r"episode='.*episode\.npz' can't be read \(.*plays it anew"):
        StagedEpisode.load(path)
