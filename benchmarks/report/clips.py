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
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.running.episodes import Recording
from sfvgen_plan.benchmarks.running.side_by_side import imagined
from sfvgen_plan.io import atomic

logger = logging.getLogger(__name__)

SUFFIX = ".clips"
LONGEST = 60
"""Frames of a clip; longer episodes are cut there."""

QUALITY = 5
"""Of ten, as imageio counts."""

GAP = 4
SMALLEST, LARGEST = 100, 2_000_000
"""Bytes that a clip may have; anything else is none of ours."""


@dataclass(frozen=True)
class Clip:
    """One episode to look at. ``solved``: decision of its first success, or None; ``imagined``: hash of the checkpoint
    whose rollout is on the right, empty without one."""

    protocol: str
    protocol_hash: str
    agent: str
    checkpoint: str
    task: str
    seed: int
    solved: int | None
    imagined: str = ""

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
        self._kept: Counter[tuple[str, bool]] = Counter()
        for clip, _ in read_clips([store]):
            if all(getattr(clip, name) == value for name, value in of.items()):
                self._kept[clip.task, clip.solved is not None] += 1

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

        simulator = self._simulator
        recording = replace(recording, frames=recording.frames[: LONGEST + 1], actions=recording.actions[:LONGEST])
        frames = recording.frames
        first = int(recording.success.argmax()) if recording.success.any() else None
        clip = Clip(
            **self._of,
            task=recording.job.task,
            seed=recording.job.seed,
            solved=first,
            imagined=simulator.checkpoint.hash if simulator else "",
        )
        beside = [frames]
        if simulator:
            beside += [np.full((len(frames), frames.shape[1], GAP, 3), 127, np.uint8), imagined(recording, simulator)]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_mp4(self.folder / f"{clip.name}.mp4", np.concatenate(beside, axis=2), quality=QUALITY)
        with atomic(self.folder / f"{clip.name}.json") as staged:
            staged.write_text(json.dumps(asdict(clip)) + "\n")


def folder_of(store: Path) -> Path:
    """Where the clips of a store lie."""
    return store.with_suffix(SUFFIX)


def read_clips(stores: Iterable[Path]) -> list[tuple[Clip, Path]]:
    """The clips of stores, with their videos; what is no clip is passed over."""
    found = []
    for store in stores:
        for file in sorted(folder_of(store).glob("*.json")):
            try:
                clip = _checked(Clip(**json.loads(file.read_text())))
                size = file.with_suffix(".mp4").stat().st_size
            except (OSError, ValueError, TypeError) as error:
                logger.warning("%s is no clip (%r)", file, error)
                continue
            if SMALLEST <= size <= LARGEST:
                found.append((clip, file.with_suffix(".mp4")))
    return found


def _checked(clip: Clip) -> Clip:
    """TypeError for values of other types than they should have: the file may be anybody's."""
    for item in fields(clip):
        value = getattr(clip, item.name)
        kind = int if item.name == "seed" or (item.name == "solved" and value is not None) else str
        if type(value) is not kind and not (item.name == "solved" and value is None):
            raise TypeError(f"{item.name}={value!r}")
    return clip


def chosen(
    clips: Sequence[tuple[Clip, Path]], agents: Sequence[tuple[str, str]], budget: int
) -> list[tuple[Clip, str]]:
    """Clips to show, with their videos as data URIs of ``budget`` bytes in all: of each of ``agents`` (name,
    checkpoint) a success and a failure, then another of each, on other tasks where there are."""
    lines: dict[tuple[tuple[str, str], bool], list[tuple[Clip, Path]]] = {}
    for item in clips:
        lines.setdefault(((item[0].agent, item[0].checkpoint), item[0].solved is not None), []).append(item)
    taken: list[tuple[Clip, str]] = []
    rounds = max(map(len, lines.values()), default=0)
    for turn in range(rounds):
        for agent in agents:
            for solved in (True, False):
                line = _tasks_in_turn(lines.get((agent, solved), []))
                if turn >= len(line):
                    continue
                clip, path = line[turn]
                uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
                if len(uri) > budget:
                    continue
                budget -= len(uri)
                taken.append((clip, uri))
    order = {agent: place for place, agent in enumerate(agents)}
    return sorted(taken, key=lambda item: (order[item[0].agent, item[0].checkpoint], item[0].solved is None))


def _tasks_in_turn(clips: Sequence[tuple[Clip, Path]]) -> list[tuple[Clip, Path]]:
    seen: Counter[str] = Counter()
    placed = []
    for item in sorted(clips, key=lambda item: (item[0].task, item[0].seed)):
        placed.append((seen[item[0].task], item))
        seen[item[0].task] += 1
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]
