"""One finished episode on disk, while its dataset is still being collected."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.data.chunks import compress_frames
from sfvgen_plan.errors import UserError


@dataclass(frozen=True)
class StagedEpisode:
    """One episode of T decisions, its frames already compressed.

    Attributes:
        task, instruction, kind: what was played, and by which behaviour.
        seed: of the scene and of the behaviour's noise.
        frame_shape: (T + 1, H, W, 3).
        chunks: the frames, as ``compress_frames`` gives them.
        state: (T + 1, 39) float64.
        estimates: (T + 1, 10) float32.
        actions: (T, 4) float32, executed.
        expert_actions: (T + 1, 4) float32, what the expert would have done at each state.
        rewards: (T,) float64.
        success: (T + 1,) bool; the first is False.
        sub_goals: texts of the episode's parts; empty where it has but its instruction.
        sub_goal: (T + 1,) int64, which of them the decision at each state works on; empty likewise.
    """

    task: str
    instruction: str
    kind: str
    seed: int
    frame_shape: tuple[int, ...]
    chunks: tuple[bytes, ...]
    state: np.ndarray
    estimates: np.ndarray
    actions: np.ndarray
    expert_actions: np.ndarray
    rewards: np.ndarray
    success: np.ndarray
    sub_goals: tuple[str, ...] = ()
    sub_goal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def from_frames(cls, frames: np.ndarray, **values: object) -> StagedEpisode:
        """From frames (T + 1, H, W, 3) uint8 and the other attributes."""
        return cls(frame_shape=frames.shape, chunks=tuple(compress_frames(frames)), **values)  # type: ignore[arg-type]

    @classmethod
    def played(
        cls,
        frames: Sequence[np.ndarray],
        infos: Sequence[Mapping[str, Any]],
        rewards: Sequence[float],
        *,
        actions: Sequence[np.ndarray],
        expert_actions: Sequence[np.ndarray],
        **values: object,
    ) -> StagedEpisode:
        """From what an environment gave: T + 1 frames and infos, T rewards and actions, T + 1 expert actions."""
        return cls.from_frames(
            np.stack(frames),
            state=np.stack([info["state"] for info in infos]),
            estimates=np.stack([info["estimates"] for info in infos]),
            actions=np.stack(actions),
            expert_actions=np.stack(expert_actions),
            rewards=np.array(rewards),
            success=np.array([info["success"] for info in infos]),
            sub_goals=tuple(infos[0].get("sub_goals", ())),
            sub_goal=np.array([info["sub_goal_index"] for info in infos if "sub_goal_index" in info], np.int64),
            **values,
        )

    def save(self, path: Path) -> None:
        """Write to ``path``: either all of it appears there, or nothing."""
        arrays = {item.name: np.asarray(getattr(self, item.name)) for item in fields(self) if item.name != "chunks"}
        arrays["sub_goals"] = np.array(self.sub_goals, str)
        arrays["chunk_sizes"] = np.array([len(chunk) for chunk in self.chunks])
        arrays["chunk_bytes"] = np.frombuffer(b"".join(self.chunks), np.uint8)
        partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> StagedEpisode:
        """Read what ``save`` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            return cls._read(path)
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"episode={str(path)!r} can't be read ({reason}); the same command again plays it anew"
            ) from error

    @classmethod
    def _read(cls, path: Path) -> StagedEpisode:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        packed = arrays.pop("chunk_bytes").tobytes()
        ends = np.cumsum(arrays.pop("chunk_sizes")).tolist()
        chunks = tuple(packed[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))
        shape = tuple(arrays.pop("frame_shape").tolist())
        sub_goals = tuple(arrays.pop("sub_goals", np.zeros(0, str)).tolist())  # files of earlier versions have none
        plain = {name: arrays.pop(name).item() for name in ("task", "instruction", "kind", "seed")}
        return cls(frame_shape=shape, chunks=chunks, sub_goals=sub_goals, **plain, **arrays)
