"""Rows of stores, CSV files and run folders, read as one or put into one place."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from pathlib import Path

from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules, conflicts, read_rows, settled, write_rows
from sfvgen_plan.benchmarks.results.store import Run, Store, is_store
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

STORE, EXPORT = "results.sqlite", "episodes.csv"
"""Names in a run folder: the store, and the rows that count for programs that read CSV."""


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files that hold the rows of ``paths``: a file itself, of a run folder its store, of another folder all in it.

    Raises:
        UserError: a folder without rows.
    """
    found: list[Path] = []
    for path in paths:
        own = [path]
        if path.is_dir():
            inside = [item for item in sorted(path.iterdir()) if not item.name.startswith(".")]
            own = _file_of_run(path) or [file for item in inside for file in _files_in(item)]
        if not own:
            raise UserError(f"store={str(path)!r} holds no rows; give a store, a run folder, or a folder of those")
        found += own
    return found


def read(paths: Iterable[Path]) -> tuple[list[EpisodeRow], list[Run]]:
    """All rows of stores, CSV files, run folders, and folders of those, oldest first, and the runs that are known.

    Raises:
        UserError: nothing like that is there, or a row makes no sense.
    """
    rows, runs = [], []
    for path in files_of(paths):
        if not path.exists():
            raise UserError(f"rows={str(path)!r} doesn't exist; give a store, a run folder or a file of rows")
        if is_store(path):
            with Store(path, writable=False) as store:
                rows += store.attempts()
                runs += store.runs()
        else:
            rows += read_rows(path)
    return rows, runs


def read_settled(paths: Iterable[Path]) -> list[EpisodeRow]:
    """The rows that count of all ``paths``. Where two of them tell different outcomes of an episode the first one
    counts, and a warning says so.

    Raises:
        UserError: as ``read``.
    """
    rows, _ = read(paths)
    if differing := conflicts(rows):
        logger.warning("%d episodes have another outcome in a later source; the first one counts", differing)
    return settled(rows)


def merge_into_store(sources: Iterable[Path], into: Path) -> str:
    """Add the rows of ``sources`` to the store ``into``; what became of them, in words. Of an episode that is there
    already the row stays that was there first.

    Raises:
        UserError: as ``read``; nothing has been added then.
    """
    rows, runs = read(sources)
    with Store(into, create=True) as store:
        added = store.extend(rows, runs)
        differing = conflicts(store.attempts() + rows)
    text = f"{into}: {added} rows added; {len(rows) - added} were there already"
    return text + (f", {differing} of them with another outcome, which was left out" if differing else "")


def merge_into_csv(sources: Iterable[Path], into: Path) -> list[EpisodeRow]:
    """Add the rows of ``sources``, oldest first, to the CSV file ``into``, and return all that it holds now.

    Episodes are told apart by protocol, task, agent and seed, and the newest counts: committed rows show one checkpoint
    for each agent.

    Raises:
        UserError: rows of a protocol other than the one that ``into`` is named for, or of other rules of that name.
    """
    rows = (read_rows(into) if into.exists() else []) + read(sources)[0]
    for row in rows:
        if row.protocol != into.stem:
            raise UserError(
                f"into={str(into)!r} is for protocol {into.stem!r}, but a row is of {row.protocol!r}; merge those apart"
            )
    merged = {row.key[:4]: row for row in rows}
    ordered = [merged[key] for key in sorted(merged)]
    check_same_rules(ordered, f"into={str(into)!r}")
    write_rows(into, ordered)
    return ordered


def _file_of_run(folder: Path) -> list[Path]:
    return [folder / name for name in (STORE, EXPORT) if (folder / name).exists()][:1]


def _files_in(item: Path) -> list[Path]:
    """Of something in a folder: that of a run, itself if it holds rows, else nothing."""
    if item.is_dir():
        return _file_of_run(item)
    return [item] if item.suffix == ".sqlite" or (item.suffix == ".csv" and holds_episodes(item)) else []


def holds_episodes(path: Path) -> bool:
    """Whether the columns of a CSV file are those of episode rows."""
    with path.open(newline="", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= {"protocol", "task", "agent", "seed", "success_any"}
