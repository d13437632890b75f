"""Several datasets as one that has links to their episodes: what an agent learns from as it goes on playing."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py

from sfvgen_plan.data.episodes import read_metadata
from sfvgen_plan.data.minari_writer import COLLECTION_KEY, DATA_FILE, METADATA_FILE
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic

SAME = ("size", "camera", "repeat", "source")  # of how episodes were made; the same in datasets that are joined


def join_datasets(out: Path, parts: Sequence[Path], tasks: Sequence[str], demonstrations: int | None = None) -> None:
    """Make the folder ``out``, as a whole or not at all, a dataset of the parts' episodes of these tasks, in their
    order; of the first part only so many ``demonstrations``, clean episodes of each task, unless None. They stay where
    they are, and must. Raises UserError: a part is no dataset, or its frames were made differently."""
    metadata = [read_metadata(part) for part in parts]
    first = metadata[0]
    for part, other in zip(parts, metadata, strict=True):
        for name in SAME:
            if (found := other[COLLECTION_KEY].get(name)) != (wanted := first[COLLECTION_KEY].get(name)):
                raise UserError(f"data={str(part)!r} has {name}={found!r}, not {wanted!r} as {str(parts[0])!r}")
    count = steps = 0
    with atomic(out, "out") as staged:
        staged.mkdir()
        with h5py.File(staged / DATA_FILE, "w") as file:
            for part in parts:
                few = demonstrations if part is parts[0] else None
                path = os.path.relpath((part / DATA_FILE).resolve(), out.resolve())
                for name, decisions in _episodes(part, tasks, few):
                    file[f"episode_{count}"] = h5py.ExternalLink(path, name)
                    count, steps = count + 1, steps + decisions
        told = {**first, "total_episodes": count, "total_steps": steps}
        (staged / METADATA_FILE).write_text(json.dumps(told), encoding="utf-8")


def _episodes(part: Path, tasks: Sequence[str], demonstrations: int | None) -> list[tuple[str, int]]:
    """Names and decisions of the episodes that are wanted."""
    wanted: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    with h5py.File(part / DATA_FILE, "r") as file:
        for name in (f"episode_{number}" for number in range(len(file))):
            about = file[name].attrs
            if about["task"] not in tasks:
                continue
            seen[about["task"]] += about["kind"] == "clean"
            if demonstrations is None or (about["kind"] == "clean" and seen[about["task"]] <= demonstrations):
                wanted.append((name, int(about["total_steps"])))
    return wanted
