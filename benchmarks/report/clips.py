"""Short videos of successes and failures, the imagined rollout beside the real one, for the report.

They lie beside a store in a folder named like it, ``results.clips``; the name of a video follows from the row of its
episode, which tells everything else of it.
"""

from __future__ import annotations

import base64
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.report.standings import Board
from sfvgen_plan.benchmarks.results.row import EpisodeKey, EpisodeRow
from sfvgen_plan.benchmarks.running.episodes import Recording
from sfvgen_plan.benchmarks.running.side_by_side import imagined

logger = logging.getLogger(__name__)

LONGEST = 60
"""Frames of a clip; longer episodes are cut there."""

QUALITY = 5
"""Of the video, from 0 to 10."""

GAP = 4


def clip_of(store: Path, key: EpisodeKey, protocol_hash: str) -> Path:
    """Where the clip of an episode lies, if there is one."""
    name = blake2b(repr((tuple(key), protocol_hash)).encode(), digest_size=8).hexdigest()
    return store.with_suffix(".clips") / f"{name}.mp4"


class ClipMaker:
    """Keeps up to ``count`` successes and as many failures of every task.

    Args:
        store: the result store that the clips belong to.
        of: the episodes' key, but for task and seed; and the hash of their rules.
        simulator: a ``LearnedSimulator`` that imagines them; None: only the real episode is shown.
        count: of each kind.
        rows: episodes that were played before.
    """

    def __init__(
        self, store: Path, of: tuple[EpisodeKey, str], simulator: Any, count: int, rows: Sequence[EpisodeRow] = ()
    ) -> None:
        self._store, self._of, self._simulator, self._count = store, of, simulator, count
        clips = [row for row in rows if clip_of(store, row.key, row.protocol_hash).exists()]
        self._kept = Counter((row.task, row.success_any) for row in clips)

    def add(self, recording: Recording) -> bool:
        """Write the clip of an episode if it is wanted. Never raises: a video is not worth an evaluation."""
        job, kind = recording.job, (recording.job.task, bool(recording.success.any()))
        if self._kept[kind] >= self._count or len(recording.frames) < 2:
            return False
        try:
            self._write(recording)
        except Exception as error:
            logger.warning("no clip of %s seed %d: %r", job.task, job.seed, error)
            return False
        self._kept[kind] += 1
        return True

    def _write(self, recording: Recording) -> None:
        from sfvgen_plan.video import write_mp4

        key, rules = self._of
        path = clip_of(self._store, key._replace(task=recording.job.task, seed=recording.job.seed), rules)
        recording = replace(recording, frames=recording.frames[: LONGEST + 1], actions=recording.actions[:LONGEST])
        beside = [recording.frames]
        if self._simulator:
            gap = np.full((*recording.frames.shape[:2], GAP, 3), 127, np.uint8)
            beside += [gap, imagined(recording, self._simulator)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mp4(path, np.concatenate(beside, axis=2), quality=QUALITY)


def films(board: Board, stores: Sequence[Path], budget: int) -> tuple[list[tuple[str, EpisodeRow, str]], int]:
    """Episodes of a board that have a clip in one of the stores, as (agent, row, data URI) of ``budget`` bytes in all,
    and how many more there are: of each agent a success and a failure, then another of each, and so on."""
    stores = [store for store in stores if store.with_suffix(".clips").is_dir()]
    queues: defaultdict[tuple[str, bool], list[tuple[str, EpisodeRow, Path]]] = defaultdict(list)
    for own in board.standings:
        for row in own.summary.rows:
            for path in [clip_of(store, row.key, row.protocol_hash) for store in stores]:
                if path.exists():
                    queues[own.name, not row.success_any].append((own.name, row, path))
    turns = [item for turn in zip_longest(*(queues[key] for key in queues)) for item in turn if item]
    taken = []
    for name, row, path in turns:
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        if len(uri) <= budget:
            budget -= len(uri)
            taken.append((name, row, uri))
    order = {own.name: place for place, own in enumerate(board.standings)}
    taken.sort(key=lambda item: (order[item[0]], not item[1].success_any))
    return taken, len(turns) - len(taken)
