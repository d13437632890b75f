"""Short videos of successes and failures, the imagined rollout beside the real one, for the report.

They lie beside a store in a folder named like it, ``results.clips``: an mp4 for each episode, and a JSON file that says
which one it is.
"""

from __future__ import annotations

import base64
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from sfvgen_plan.benchmarks.results.files import write_text
from sfvgen_plan.benchmarks.running.episodes import Recording
from sfvgen_plan.benchmarks.running.side_by_side import imagined

logger = logging.getLogger(__name__)

LONGEST = 60
"""Frames of a clip; longer episodes are cut there."""

QUALITY = 5
"""Of the video, from 0 to 10."""

GAP = 4
SMALLEST, LARGEST = 100, 2_000_000
"""Bytes of a video; a smaller or larger file is passed over."""


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Clip:
    """One episode to look at. ``solved``: decision of its first success, or None; ``imagined``: hash of the checkpoint
    whose rollout is on the right, empty without one.

    Raises:
        ValidationError: a value of another type.
    """

    protocol: str
    protocol_hash: str
    agent: str
    checkpoint: str
    task: str
    seed: int
    solved: int | None
    imagined: str = ""

    @property
    def by(self) -> tuple[str, str]:
        """The agent: its name and its checkpoint."""
        return self.agent, self.checkpoint

    @property
    def name(self) -> str:
        """Of its files."""
        episode = (self.protocol, self.protocol_hash, self.agent, self.checkpoint, self.task, self.seed)
        return blake2b(repr(episode).encode(), digest_size=8).hexdigest()


class ClipMaker:
    """Keeps up to ``count`` successes and as many failures of every task.

    Args:
        store: the result store that the clips belong to.
        of: protocol, protocol_hash, agent and checkpoint of the clips.
        simulator: a ``LearnedSimulator`` that imagines them; None: only the real episode is shown.
        count: of each kind.
    """

    def __init__(self, store: Path, of: dict[str, str], simulator: Any | None, count: int) -> None:
        self.folder = folder_of(store)
        self._of, self._simulator, self._count = of, simulator, count
        own = [clip for clip, _ in read_clips([store]) if all(getattr(clip, name) == of[name] for name in of)]
        self._kept = Counter((clip.task, clip.solved is not None) for clip in own)

    def add(self, recording: Recording) -> bool:
        """Write the clip of an episode if it is wanted. Never raises: a video is not worth an evaluation."""
        job, solved = recording.job, bool(recording.success.any())
        if self._kept[job.task, solved] >= self._count or len(recording.frames) < 2:
            return False
        try:
            self._write(recording)
        except Exception as error:
            logger.warning("no clip of %s seed %d: %r", job.task, job.seed, error)
            return False
        self._kept[job.task, solved] += 1
        return True

    def _write(self, recording: Recording) -> None:
        from sfvgen_plan.video import write_mp4

        recording = replace(recording, frames=recording.frames[: LONGEST + 1], actions=recording.actions[:LONGEST])
        frames, simulator, job = recording.frames, self._simulator, recording.job
        solved = int(recording.success.argmax()) if recording.success.any() else None
        imagined_by = simulator.checkpoint.hash if simulator else ""
        clip = Clip(**self._of, task=job.task, seed=job.seed, solved=solved, imagined=imagined_by)
        beside = [frames]
        if simulator:
            beside += [np.full((len(frames), frames.shape[1], GAP, 3), 127, np.uint8), imagined(recording, simulator)]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_mp4(self.folder / f"{clip.name}.mp4", np.concatenate(beside, axis=2), quality=QUALITY)
        write_text(self.folder / f"{clip.name}.json", json.dumps(asdict(clip)) + "\n")


def folder_of(store: Path) -> Path:
    """Where the clips of a store lie."""
    return store.with_suffix(".clips")


def read_clips(stores: Iterable[Path]) -> list[tuple[Clip, Path]]:
    """The clips of stores, with their videos; what is no clip is passed over."""
    found, adapter = [], TypeAdapter(Clip)
    for file in [file for store in stores for file in sorted(folder_of(store).glob("*.json"))]:
        video = file.with_suffix(".mp4")
        try:
            clip = adapter.validate_json(file.read_bytes())
            size = video.stat().st_size
        except (OSError, ValueError) as error:
            logger.warning("%s is no clip (%s)", file, " ".join(str(error).split()))
            continue
        if SMALLEST <= size <= LARGEST:
            found.append((clip, video))
    return found


def chosen(
    clips: Iterable[tuple[Clip, Path]], agents: Sequence[tuple[str, str]], budget: int
) -> list[tuple[Clip, str]]:
    """Clips to show, with their videos as data URIs of ``budget`` bytes in all: of each of ``agents`` (name,
    checkpoint) a success and a failure, then another of each, on other tasks where there are."""
    of_task: Counter[tuple[int, bool, str]] = Counter()
    queues: dict[tuple[int, bool], list[tuple[int, Clip, Path]]] = {}
    for clip, path in sorted(clips, key=lambda item: (item[0].task, item[0].seed)):
        if clip.by in agents:
            queue = (agents.index(clip.by), clip.solved is None)
            queues.setdefault(queue, []).append((of_task[*queue, clip.task], clip, path))
            of_task[*queue, clip.task] += 1
    turns = [
        (turn, queue, clip, path)
        for queue, items in queues.items()
        for turn, (_, clip, path) in enumerate(sorted(items, key=lambda item: item[0]))
    ]
    taken = []
    for _, queue, clip, path in sorted(turns, key=lambda item: item[:2]):
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        if len(uri) <= budget:
            budget -= len(uri)
            taken.append((queue, clip, uri))
    return [(clip, uri) for _, clip, uri in sorted(taken, key=lambda item: item[0])]
