"""The result store: an SQLite file with a row per episode, which is on disk the moment the episode has ended.

Rows are only ever added. An episode that broke off may be played again; its old row stays. A unique index keeps two
processes that play the same episode from counting it twice. SQLite commits every row by itself to a write-ahead log
with full synchronisation, so a process that is killed loses at most the row it was about to store.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from pydantic.dataclasses import dataclass

from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeRow, settled
from sfvgen_plan.errors import UserError

STORES = (".sqlite", ".db")
"""How the names of stores end."""

VERSION = 2
APPLICATION_ID = 0x5F6E0001
"""Header fields that tell a result store from other SQLite files, and from those of other versions."""

BUSY_SECONDS = 60.0
"""How long to wait for other processes that write."""

_COLUMNS = ", ".join(f'"{column}"' for column in COLUMNS)
_EPISODE = "protocol, protocol_hash, agent, checkpoint, task, seed"
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
CREATE TABLE runs (id PRIMARY KEY, protocol, agent, checkpoint, record);
CREATE TABLE episodes ({_COLUMNS});
CREATE UNIQUE INDEX played ON episodes ({_EPISODE}) WHERE error = '';
CREATE UNIQUE INDEX broken ON episodes ({_EPISODE}, error, run) WHERE error <> '';
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Run:
    """One evaluation: what was played, by whom, and everything else that its rows may depend on.

    ``record`` are JSON values; of them ``settings`` decides whether two runs are by the same agent.
    """

    id: str
    protocol: str
    agent: str
    checkpoint: str
    record: Mapping[str, Any]

    @classmethod
    def new(cls, agent: str, protocol: str, checkpoint: str, record: Mapping[str, Any]) -> Run:
        return cls(uuid4().hex[:16], protocol, agent, checkpoint, dict(record))


class Store:
    """Rows of any number of runs in one SQLite file, which any number of processes may write at a time.

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
            if not path.exists():
                _make(path)
            self._db = _connect(path, writable)
            try:
                self._check()
                self._db.execute("PRAGMA synchronous = FULL")
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the write-ahead log into it."""
        # A disk that is full can't take the log in; the log stays beside the file and nothing is lost.
        with suppress(sqlite3.Error):
            self._db.close()

    def append(self, row: EpisodeRow) -> bool:
        """Store a row; on disk when this returns. False: that episode is there already, and stays as it is.

        Raises:
            UserError: the disk is full, or the file can't be written.
        """
        return self.extend([row]) == 1

    def extend(self, rows: Iterable[EpisodeRow], runs: Iterable[Run] = ()) -> int:
        """Store rows and their runs, all or none; how many rows were new."""
        stored_rows = [tuple(row.values().values()) for row in rows]
        stored_runs = [(run.id, run.protocol, run.agent, run.checkpoint, json.dumps(run.record)) for run in runs]
        with self._explained(), self._db:
            self._db.executemany("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)", stored_runs)
            before = self._db.total_changes
            marks = ", ".join("?" * len(COLUMNS))
            self._db.executemany(f"INSERT OR IGNORE INTO episodes VALUES ({marks})", stored_rows)
            return self._db.total_changes - before

    def rows(self) -> list[EpisodeRow]:
        """Of each episode the row that counts, oldest first."""
        return settled(self.attempts())

    def attempts(self) -> list[EpisodeRow]:
        """All rows, oldest first, also of episodes that were played again after they broke off."""
        with self._explained():
            found = self._db.execute(f"SELECT {_COLUMNS} FROM episodes ORDER BY rowid")
            return [EpisodeRow.of(dict(zip(COLUMNS, values, strict=True))) for values in found]

    def runs(self) -> list[Run]:
        """What is known of the runs, in the order in which they began."""
        with self._explained():
            found = self._db.execute("SELECT id, protocol, agent, checkpoint, record FROM runs ORDER BY rowid")
            return [
                Run(name, protocol, agent, checkpoint, json.loads(record))
                for name, protocol, agent, checkpoint, record in found
            ]

    def _check(self) -> None:
        """UserError unless this is a store, of this version, and whole."""
        header = tuple(self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if header != (APPLICATION_ID, VERSION):
            raise UserError(
                f"store={str(self.path)!r} is no result store of this version; give a file that `eval --store` wrote"
            )
        problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)

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
                f"store={str(self.path)!r} is damaged, or no result store ({' '.join(str(error).split())}); nothing "
                "was changed: put a copy in its place, or play the episodes again into another file"
            ) from error


def _make(path: Path) -> None:
    """Make an empty store. It appears complete or not at all, and one that another process makes meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        staged = Path(folder) / path.name
        with closing(sqlite3.connect(staged)) as db:
            db.executescript(_SCHEMA)
        with suppress(FileExistsError):
            os.link(staged, path)


def _connect(path: Path, writable: bool) -> sqlite3.Connection:
    mode = "mode=rw"
    if not writable:
        # In a folder that can't be written to SQLite can't coordinate with writers, which there can't be either.
        alone = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
        mode = "immutable=1" if alone else "mode=ro"
    address = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE")


def is_store(path: Path) -> bool:
    """Whether the file is SQLite's, or is called so."""
    if path.suffix in STORES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
