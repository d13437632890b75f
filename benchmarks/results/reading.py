"""Rows of stores, CSV files and run folders, read as one."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from sfvgen_plan.benchmarks.results.row import EpisodeRow, read_rows, settled
from sfvgen_plan.benchmarks.results.store import Store, is_store
from sfvgen_plan.errors import UserError

STORE, EXPORT = "results.sqlite", "episodes.csv"
"""Names in a run folder: the store, and its rows for programs that read CSV."""


def read(paths: Iterable[Path]) -> list[EpisodeRow]:
    """All rows of stores, CSV files, run folders, and folders of those.

    Raises:
        UserError: nothing like that is there, or a row makes no sense.
    """
    rows: list[EpisodeRow] = []
    for path in paths:
        files = _files_of(path)
        if not files:
            raise UserError(f"store={str(path)!r} holds no rows; give a store, a run folder, or a folder of those")
        for file in files:
            if is_store(file):
                with Store(file, writable=False) as store:
                    rows += store.rows()
            else:
                rows += read_rows(file)
    return rows


def read_settled(paths: Iterable[Path]) -> list[EpisodeRow]:
    """One row of each episode in ``paths``: the first that was played to its end, else the newest.

    Raises:
        UserError: as ``read``.
    """
    return settled(read(paths))


def holds_episodes(path: Path) -> bool:
    """Whether the columns of a CSV file are those of episode rows."""
    with path.open(newline="", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= {"protocol", "task", "agent", "seed", "success_any"}


def _files_of(path: Path) -> list[Path]:
    """The files with rows: a file itself, of a run folder its store, of another folder all in it."""
    if not path.is_dir():
        return [path]
    inside = [item for item in sorted(path.iterdir()) if not item.name.startswith(".")]
    return _of_run(path) or [file for item in inside for file in (_of_run(item) or [item]) if _holds_rows(file)]


def _of_run(folder: Path) -> list[Path]:
    return [folder / name for name in (STORE, EXPORT) if (folder / name).exists()][:1]


def _holds_rows(path: Path) -> bool:
    return path.is_file() and (path.suffix == ".sqlite" or (path.suffix == ".csv" and holds_episodes(path)))
