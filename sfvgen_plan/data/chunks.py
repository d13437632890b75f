"""Frames as compressed HDF5 chunks.

A chunk holds one horizontal band of a whole episode rather than a few whole frames. Deflate looks back 32 KiB, less
than one 128x128 frame; of a band of 8 rows it sees the ten frames before, most of which are the same. Against chunks of
whole frames that makes files four times smaller, and both directions two to three times faster.
"""

import zlib

import numpy as np

BAND_ROWS = 8
MAX_CHUNK_FRAMES = 64
COMPRESSION_LEVEL = 6


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Chunk (T, rows, W, 3) for frames (F, H, W, 3): long episodes are cut into equal parts of at most 64 frames."""
    frames, height, width, channels = shape
    parts = -(-frames // MAX_CHUNK_FRAMES)
    return (-(-frames // parts), min(BAND_ROWS, height), width, channels)


def chunk_offsets(shape: tuple[int, ...], chunk: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where the chunks start, frames outermost; only the first two axes are cut."""
    frames, height = shape[:2]
    return [(f, r, 0, 0) for f in range(0, frames, chunk[0]) for r in range(0, height, chunk[1])]


def compress_frames(frames: np.ndarray) -> list[bytes]:
    """The chunks of ``frames`` (F, H, W, 3) uint8 as HDF5's gzip filter has them, in ``chunk_offsets``' order."""
    chunk = chunk_shape(frames.shape)
    packed = []
    for frame, row, _, _ in chunk_offsets(frames.shape, chunk):
        part = frames[frame : frame + chunk[0], row : row + chunk[1]]
        # HDF5 stores chunks at the border in full.
        padding = [(0, full - size) for full, size in zip(chunk, part.shape, strict=True)]
        packed.append(zlib.compress(np.pad(part, padding).tobytes(), COMPRESSION_LEVEL))
    return packed


def decompress_chunk(packed: bytes, offset: tuple[int, ...], chunk: tuple[int, ...], out: np.ndarray) -> None:
    """Write one chunk into its place in ``out`` (F, H, W, 3) uint8. Runs without the interpreter lock."""
    part = out[offset[0] : offset[0] + chunk[0], offset[1] : offset[1] + chunk[1]]
    full = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(chunk)
    part[...] = full[: part.shape[0], : part.shape[1]]
