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


def test_a_damaged_file_is_named_with_the_remedy(make_episode, tmp_path):
    path = tmp_path / "episode.npz"
    make_episode(3)[1].save(path)
    whole = path.read_bytes()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    for content in (path.read_bytes(), b"", b"no archive", whole[:500], None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(UserError, match=r"episode='.*episode\.npz' can't be read \(.*plays it anew"):
            StagedEpisode.load(path)
