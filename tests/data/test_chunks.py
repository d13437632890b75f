"""Compressed frames come back as they were, whatever their number and size."""

import h5py
import numpy as np
import pytest

from sfvgen_plan.data.staging import chunk_offsets, chunk_shape, compress_frames, decompress_chunk

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
