"""One finished episode on disk, while its dataset is still being collected, and frames as compressed HDF5 chunks.

A chunk holds one horizontal band of a whole episode rather than a few whole frames. Deflate looks back 32 KiB, less
than one 128x128 frame; of a band of 8 rows it sees the ten frames before, most of which are the same. Against chunks of
whole frames that makes files four times smaller, and both directions two to three times faster.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic

BAND_ROWS = 8
MAX_CHUNK_FRAMES = 64
COMPRESSION_LEVEL = 6

_PLAIN = ("task", "instruction", "kind", "seed", "frame_shape", "description", "sub_goals", "terminated")
_ARRAYS = ("state", "estimates", "actions", "expert_actions", "rewards", "success", "sub_goal")


@dataclass(frozen=True)
class StagedEpisode:
    """One episode of T decisions, its frames already compressed."""

    # what was played, and by which behaviour
    task: str
    instruction: str
    kind: str
    seed: int  # of the scene and of the behaviour's noise
    frame_shape: tuple[int, ...]  # (T + 1, H, W, 3)
    chunks: tuple[bytes, ...]  # the frames, as compress_frames gives them
    state: np.ndarray  # (T + 1, S) float64
    estimates: np.ndarray  # (T + 1, D) float32
    actions: np.ndarray  # (T, A) float32, executed
    # (T + 1, A) float32, what the expert would have done at each state; NaN where none was asked
    expert_actions: np.ndarray
    rewards: np.ndarray  # (T,) float64
    success: np.ndarray  # (T + 1,) bool; the first is False
    description: str = ""  # what this episode was about, in the simulator's words; empty where the instruction says it
    sub_goals: tuple[str, ...] = ()  # texts of the episode's parts; empty where it has but its instruction
    # (T + 1,) int64, which of them the decision at each state works on; empty likewise
    sub_goal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    terminated: bool = False  # whether the task ended by itself, rather than being cut off

    @classmethod
    def from_frames(cls, frames: np.ndarray, **values: Any) -> Self:
        """From frames (T + 1, H, W, 3) uint8 and the other attributes, arrays also as lists."""
        values |= {name: np.array(values[name]) for name in _ARRAYS if name in values}
        return cls(frame_shape=frames.shape, chunks=tuple(compress_frames(frames)), **values)

    def save(self, path: Path) -> None:
        """Write all of it to ``path``, a name that ends in .npz, or nothing. Raises UserError: it can't be written."""
        plain = json.dumps({name: getattr(self, name) for name in _PLAIN})
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        sizes, packed = [len(chunk) for chunk in self.chunks], np.frombuffer(b"".join(self.chunks), np.uint8)
        with atomic(path, "out") as staged:
            np.savez(staged, plain=np.array(plain), chunk_sizes=sizes, chunk_bytes=packed, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises UserError: the file is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                plain, packed = json.loads(str(file["plain"])), file["chunk_bytes"].tobytes()
                ends = np.cumsum(file["chunk_sizes"]).tolist()
                arrays = {name: file[name] for name in _ARRAYS}
            chunks = tuple(packed[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
            plain |= {name: tuple(plain[name]) for name in ("frame_shape", "sub_goals")}
            return cls(chunks=chunks, **plain, **arrays)
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(
                f"episode={str(path)!r} can't be read ({reason(error)}); delete it, and the same command plays it anew"
            ) from error


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
