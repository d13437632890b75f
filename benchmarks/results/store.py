"""The result store: an SQLite file with a row per episode, which is on disk the moment the episode has ended.

Any number of processes may write it at a time. A unique index keeps two that play the same episode from counting it
twice; one that broke off may be played again, and its new row takes the place of the old. SQLite commits every row by
itself with full synchronisation, so a process that is killed loses at most the row that it was about to store.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeRow
from sfvgen_plan.errors import UserError, reason

STORES = (".sqlite", ".db")
"""How the names of stores end."""

APPLICATION_ID, VERSION = 0x5F6E0001, 3
"""Header fields that tell a result store from other SQLite files, and from those of other versions."""

BUSY_SECONDS = 60.0
"""How long to wait for other processes that write."""

_COLUMNS = ", ".join(f'"{column}"' for column in COLUMNS)
_EPISODE = "protocol, protocol_hash, agent, checkpoint, task, seed"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (id PRIMARY KEY, record)",
    f"CREATE TABLE IF NOT EXISTS episodes ({_COLUMNS}, UNIQUE ({_EPISODE}))",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_INSERT = (
    f"INSERT INTO episodes ({_COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f'"{column}" = excluded."{column}"' for column in COLUMNS)
    + " WHERE episodes.error <> ''"
)


class Store:
    """Rows of any number of runs in one SQLite file.

    Args:
        path: the file.
        create: make it if it doesn't exist.
        writable: False only reads, and leaves the file as it is.

    Raises:
        UserError: no such file, not a store, a store of another version, or a damaged one.
    """

    def __init__(self, path: Path, *, create: bool = False, writable: bool = True) -> None:
        self.path = path
        if not path.exists() and not create:
            raise UserError(f"store={str(path)!r} doesn't exist; give the file of a result store")
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            address = f"{path.resolve().as_uri()}?mode={'rwc' if create else 'rw' if writable else 'ro'}"
            self._db = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                self._check(create)
                self._db.execute("PRAGMA synchronous = FULL")
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, rows: Iterable[EpisodeRow], run: str = "", record: Mapping[str, Any] | None = None) -> int:
        """Store rows, all or none, with what is known of their run, if that is given; how many rows were new. An
        episode that is there already, and didn't break off, stays as it is.

        Raises:
            UserError: the disk is full, or the file can't be written.
        """
        stored = [tuple(row.values().values()) for row in rows]
        with self._explained(), self._transaction():
            if record is not None:
                self._db.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run, json.dumps(record)))
            before = self._db.total_changes
            self._db.executemany(_INSERT, stored)
            return self._db.total_changes - before

    def rows(self) -> list[EpisodeRow]:
        """All rows, in the order in which their episodes were first played."""
        with self._explained():
            found = self._db.execute(f"SELECT {_COLUMNS} FROM episodes ORDER BY rowid")
            return [EpisodeRow.of(dict(zip(COLUMNS, values, strict=True))) for values in found]

    def records(self) -> list[dict[str, Any]]:
        """What is known of the runs, in the order in which they began."""
        with self._explained():
            return [json.loads(record) for (record,) in self._db.execute("SELECT record FROM runs ORDER BY rowid")]

    def _check(self, create: bool) -> None:
        """UserError unless this is a store, of this version, and whole; an empty file becomes one if it may."""
        if create and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            with self._transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)
        header = tuple(self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if header != (APPLICATION_ID, VERSION):
            raise UserError(
                f"store={str(self.path)!r} is no result store of this version; give a file that `eval --store` wrote"
            )
        problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has rolled it back by itself
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of SQLite and of the disk, and rows that make no sense, as errors that a user can mend."""
        try:
            yield
        except UserError:
            raise
        except (sqlite3.OperationalError, OSError) as error:
            raise UserError(
                f"store={str(self.path)!r} can't be used ({error}); its rows are kept: see that the disk has room, the "
                "file may be written and no other process holds it, then go on"
            ) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise UserError(
                f"store={str(self.path)!r} is damaged, or no result store ({reason(error)}); nothing was changed: put "
                "a copy in its place, or play the episodes again into another file"
            ) from error


def is_store(path: Path) -> bool:
    """Whether the file is SQLite's, or is called so."""
    if path.suffix in STORES or not path.is_file():
        return path.suffix in STORES
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
