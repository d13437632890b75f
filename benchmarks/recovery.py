"""What can be saved of a damaged store, and a plain account of what can't."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.store import STORED, Run, Store, check_version, checksum_of, row_of, run_of
from sfvgen_plan.errors import UserError

CHUNK = 10_000
PATIENCE = 100_000
"""Ids to go on trying past the last one found, where the number of rows itself can't be read."""


@dataclass(frozen=True)
class Recovery:
    """``saved`` rows are in the store again; ``lost`` were there and are not any more (None: nobody can tell how
    many). The damaged file is kept as ``kept``."""

    saved: int
    lost: int | None
    kept: Path


def recover(path: Path) -> Recovery:
    """Put a store in place of the damaged one at ``path`` that holds all of its rows whose checksum is right.

    Raises:
        UserError: no store, nothing in it can be read, or another process uses it.
    """
    if not path.is_file():
        raise UserError(f"store={str(path)!r} doesn't exist; give the file of a result store")
    db = sqlite3.connect(path, isolation_level=None)
    try:
        _claim(db, path)
        try:
            check_version(db, path)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"store={str(path)!r} can't be read at all ({error}); it was left as it is, play the episodes again"
            ) from error
        staged = path.with_name(f"{path.name}.recovering")
        for ending in ("", "-wal", "-shm"):  # of an attempt that was killed: its log would become part of the new store
            staged.with_name(staged.name + ending).unlink(missing_ok=True)
        wanted = _wanted(db)
        with Store(staged, create=True) as store:
            saved = store.extend(_whole_rows(db, wanted), _whole_runs(db))
        if staged.with_name(staged.name + "-wal").exists():
            raise UserError(
                f"store={str(path)!r} was left as it is: there is no room for its rows beside it; make some, then go on"
            )
    finally:
        with suppress(sqlite3.Error):
            db.close()
    kept = _free_name(path)
    log = path.with_name(path.name + "-wal")
    if log.exists():
        os.replace(log, kept.with_name(kept.name + "-wal"))  # It belongs to the damaged file.
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    os.link(path, kept)
    os.replace(staged, path)
    return Recovery(saved, None if wanted is None else max(0, wanted - saved), kept)


def _claim(db: sqlite3.Connection, path: Path) -> None:
    """Take the file for this process alone; every other one that has it open holds a shared lock. Has to come before
    anything is read."""
    db.execute("PRAGMA busy_timeout = 1000")
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"store={str(path)!r} is in use by another process; stop that first") from error
    except sqlite3.DatabaseError:
        pass  # Too damaged for that; what can be read is read below.


def _wanted(db: sqlite3.Connection) -> int | None:
    try:
        return int(db.execute("SELECT rows FROM tally").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return None


def _whole_rows(db: sqlite3.Connection, wanted: int | None) -> Iterator[EpisodeRow]:
    """Rows one by one by their number, since a scan would end at the first damaged page."""
    query = f"SELECT {STORED}, checksum FROM episodes NOT INDEXED WHERE id = ?"
    number, last = 0, 0
    # Rows are numbered without a gap. A damaged counter must not end the search early, so it goes on a while.
    while number < max(wanted or 0, last + (PATIENCE if wanted is None else CHUNK)):
        number += 1
        with suppress(sqlite3.DatabaseError, TypeError, ValueError, UnicodeDecodeError):
            found = db.execute(query, (number,)).fetchone()
            if found is not None:
                last = number
                *values, checksum = found
                if checksum_of(values) == checksum:
                    yield row_of(values).check()


def _whole_runs(db: sqlite3.Connection) -> Iterator[Run]:
    try:
        for values in db.execute("SELECT id, protocol, agent, checkpoint, record FROM runs"):
            with suppress(ValueError, TypeError):
                yield run_of(values)
    except sqlite3.DatabaseError:
        return


def _free_name(path: Path) -> Path:
    number = 1
    while (name := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return name
