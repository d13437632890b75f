"""Rows of stores, CSV files and run folders, read as one."""

import csv
from collections.abc import Iterable
from pathlib import Path

from sfvgen_plan.benchmarks.results.files import read_rows
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.store import EXPORT, STORE, STORES, Store
from sfvgen_plan.errors import UserError


def read(paths: Iterable[Path]) -> list[EpisodeRow]:
    """All rows of stores, CSV files, run folders, and folders of those. Raises UserError: nothing like that is there,
    or a row makes no sense."""
    rows: list[EpisodeRow] = []
    for path in paths:
        files = _files_of(path) if path.is_dir() else [path]
        if not files:
            raise UserError(f"store={str(path)!r} holds no rows; give a store, a run folder, or a folder of those")
        for file in files:
            if not file.exists() or file.suffix in STORES:
                with Store(file, writable=False) as store:
                    rows += store.rows()
            else:
                rows += read_rows(file, EpisodeRow)
    return rows


def holds_episodes(path: Path) -> bool:
    """Whether the columns of a CSV file are those of episode rows."""
    with path.open(newline="", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= {"protocol", "task", "agent", "seed", "success_any"}


def _files_of(folder: Path) -> list[Path]:
    """The files with rows in a folder: of a run its store, else its CSV; of another folder all that are in it."""
    inside = [item for item in sorted(folder.iterdir()) if not item.name.startswith(".")]
    return _of_run(folder) or [
        file
        for item in inside
        for file in (_of_run(item) or [item])
        if file.suffix in STORES or (file.suffix == ".csv" and holds_episodes(file))
    ]


def _of_run(folder: Path) -> list[Path]:
    return [folder / name for name in (STORE, EXPORT) if (folder / name).exists()][:1]
