"""A staged episode: all of it or nothing; compressed frames come back as they were, whatever their number and size."""

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from sfvgen_plan.data.staging import StagedEpisode, chunk_offsets, chunk_shape, compress_frames, decompress_chunk
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


SHAPES = [(1, 8, 8, 3), (7, 20, 12, 3), (41, 128, 16, 3), (64, 8, 8, 3), (65, 9, 8, 3), (130, 5, 8, 3)]


def frames_of(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip_and_plain_h5py_reads_them(shape, tmp_path):
    frames, out, chunk = frames_of(shape), np.zeros(shape, np.uint8), chunk_shape(shape)
    with h5py.File(tmp_path / "file.h5", "w") as file:
        dataset = file.create_dataset("frames", shape, np.uint8, chunks=chunk, compression="gzip")
        for packed, offset in zip(compress_frames(frames), chunk_offsets(shape, chunk), strict=True):
            dataset.id.write_direct_chunk(offset, packed)
            decompress_chunk(packed, offset, chunk, out)
    assert np.array_equal(out, frames)
    with h5py.File(tmp_path / "file.h5") as file:
        assert np.array_equal(file["frames"][()], frames)
