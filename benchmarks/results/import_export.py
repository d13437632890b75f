"""Rows from stores, CSV files and run folders into one place, and out of it into CSV, JSON and Parquet files."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules, conflicts, read_rows, settled, write_rows
from sfvgen_plan.benchmarks.results.store import Run, Store, is_store
from sfvgen_plan.errors import UserError, install_command
from sfvgen_plan.io import atomic

logger = logging.getLogger(__name__)

STORE = "results.sqlite"
EXPORT = "episodes.csv"
"""Names in a run folder: the store, and the rows that count for programs that read CSV."""

FORMATS = (".csv", ".json", ".parquet")


@dataclass(frozen=True)
class Results:
    """Rows, and what is known of the runs that they are from."""

    rows: list[EpisodeRow] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)


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


def read(paths: Iterable[Path]) -> Results:
    """All rows of stores, CSV files, run folders, and folders of those, oldest first.

    Raises:
        UserError: nothing like that is there, or a row makes no sense.
    """
    found = [_read_file(file) for file in files_of(paths)]
    return Results([row for part in found for row in part.rows], [run for part in found for run in part.runs])


def read_settled(paths: Iterable[Path]) -> Results:
    """The rows that count of all ``paths``. Where two of them tell different outcomes of an episode the first one
    counts, and a warning says so.

    Raises:
        UserError: as ``read``.
    """
    results = read(paths)
    if differing := conflicts(results.rows):
        logger.warning("%d episodes have another outcome in a later source; the first one counts", differing)
    return Results(settled(results.rows), results.runs)


def merge_into_store(sources: Iterable[Path], into: Path) -> str:
    """Add the rows of ``sources`` to the store ``into``; what became of them, in words. Of an episode that is there
    already the row stays that was there first.

    Raises:
        UserError: as ``read``; nothing has been added then.
    """
    results = read(sources)
    with Store(into, create=True) as store:
        added = store.extend(results.rows, results.runs)
        differing = conflicts(store.attempts() + results.rows)
    text = f"{into}: {added} rows added; {len(results.rows) - added} were there already"
    return text + (f", {differing} of them with another outcome, which was left out" if differing else "")


def merge_into_csv(sources: Iterable[Path], into: Path) -> list[EpisodeRow]:
    """Add the rows of ``sources``, oldest first, to the CSV file ``into``, and return all that it holds now.

    Episodes are told apart by protocol, task, agent and seed, and the newest counts: committed rows show one checkpoint
    for each agent.

    Raises:
        UserError: rows of a protocol other than the one that ``into`` is named for, or of other rules of that name.
    """
    rows = (read_rows(into) if into.exists() else []) + read(sources).rows
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


def export(results: Results, path: Path) -> None:
    """Write rows to a CSV, JSON or Parquet file by its ending, in one step; JSON holds the runs, too.

    Raises:
        UserError: another ending, Parquet without pyarrow, or a file that can't be written.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"file={str(path)!r} should end in {', '.join(FORMATS)}")
    if path.suffix == ".csv":
        write_rows(path, results.rows)
        return
    records = [row.values() for row in results.rows]
    with atomic(path, "file") as staged:
        if path.suffix == ".json":
            runs = [asdict(run) for run in results.runs]
            staged.write_text(json.dumps({"runs": runs, "rows": records}, indent=1) + "\n")
        else:
            pyarrow, parquet = _pyarrow()
            parquet.write_table(pyarrow.Table.from_pylist(records), staged)


def _file_of_run(folder: Path) -> list[Path]:
    return [folder / name for name in (STORE, EXPORT) if (folder / name).exists()][:1]


def _files_in(item: Path) -> list[Path]:
    """Of something in a folder: that of a run, itself if it holds rows, else nothing."""
    if item.is_dir():
        return _file_of_run(item)
    if item.suffix == ".csv":
        with item.open(newline="", errors="replace") as file:
            columns = set(next(csv.reader(file), ()))
        return [item] if columns >= {"protocol", "task", "agent", "seed", "success_any"} else []
    return [item] if item.suffix == ".sqlite" else []


def _read_file(path: Path) -> Results:
    if not path.exists():
        raise UserError(f"rows={str(path)!r} doesn't exist; give a store, a run folder or a file of rows")
    if is_store(path):
        with Store(path, writable=False) as store:
            return Results(store.attempts(), store.runs())
    return Results(read_rows(path))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"Parquet files need pyarrow: {install_command('parquet')}") from None
    return pyarrow, parquet
