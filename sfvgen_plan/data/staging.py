"""One finished episode on disk, while its dataset is still being collected."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from sfvgen_plan.data.chunks import compress_frames
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic

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
