"""The result store: an SQLite file with one row per episode, written the moment the episode ends.

Rows are only ever added. An episode that broke off may be played again; its old row stays, and the view ``results``
shows of each episode the row that counts: the one without an error, else the newest. A unique index keeps two
processes that play the same episode from counting it twice. Every row says by itself what it is a result of, and
carries a checksum; a counter that grows in the same transaction tells how many there should be. So damage is noticed

Write-ahead logging with full synchronisation: once ``append`` has returned, a crash or a power cut keeps the row.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
APPLICATION_ID = 0x5F6E0001
"""Tells our files from other SQLite files (header field ``application_id``)."""

BUSY_SECONDS = 60.0
"""How long to wait for other processes that write."""

NAMES = tuple(field.name.rstrip("_") for field in fields(EpisodeRow))
STORED = ", ".join(f'"{name}"' for name in NAMES)
_KEY = "protocol, protocol_hash, agent, checkpoint, task, seed"
_SAME = " AND ".join(f"o.{name} = e.{name}" for name in _KEY.split(", "))

_SCHEMA = f"""
CREATE TABLE runs (
    id TEXT PRIMARY KEY, protocol TEXT NOT NULL, agent TEXT NOT NULL, checkpoint TEXT NOT NULL,
    settings TEXT NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE tally (rows INTEGER NOT NULL);
INSERT INTO tally VALUES (0);
CREATE TABLE episodes (
    id INTEGER PRIMARY KEY,
    protocol TEXT NOT NULL, task TEXT NOT NULL, agent TEXT NOT NULL, seed INTEGER NOT NULL,
    success_any INTEGER NOT NULL, success_final INTEGER NOT NULL, return REAL NOT NULL, decisions INTEGER NOT NULL,
    plan_seconds REAL NOT NULL, denoiser_calls INTEGER NOT NULL, imagined_decisions INTEGER NOT NULL,
    error TEXT NOT NULL, first_success INTEGER, checkpoint TEXT NOT NULL, device TEXT NOT NULL,
    protocol_hash TEXT NOT NULL, run TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX played ON episodes ({_KEY}) WHERE error = '';
CREATE INDEX broken ON episodes ({_KEY}) WHERE error <> '';
CREATE UNIQUE INDEX broken_once ON episodes (checksum) WHERE error <> '';
CREATE TRIGGER counted AFTER INSERT ON episodes BEGIN UPDATE tally SET rows = rows + 1; END;
CREATE VIEW results AS SELECT * FROM episodes e WHERE e.error = '' OR NOT (
    EXISTS (SELECT 1 FROM episodes o WHERE o.error = '' AND {_SAME})
    OR EXISTS (SELECT 1 FROM episodes o WHERE o.error <> '' AND {_SAME} AND o.id > e.id)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

_INSERT = f"""
INSERT INTO episodes ({STORED}, checksum) VALUES ({", ".join("?" * (len(NAMES) + 1))}) ON CONFLICT DO NOTHING
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
        thorough: look at every row for damage before anything else is done; False looks at the file's structure.

    Raises:
        UserError: no such file, not a store, a store of a newer version, or a damaged one.
    """

    def __init__(self, path: Path, *, create: bool = False, writable: bool = True, thorough: bool = True) -> None:
        self.path = path
        if not path.exists() or (create and not path.stat().st_size):
            if not create:
                raise UserError(f"store={str(path)!r} doesn't exist; give the file of a result store")
            _create(path)
        self._db = connect(path, writable)
        try:
            with self.explained():
                check_version(self._db, path)
                self._db.execute("PRAGMA synchronous = FULL")
                problem = find_damage(self._db, thorough)
        except BaseException:
            self._db.close()
            raise
        if problem:
            self._db.close()
            raise damaged(path, problem)

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
            UserError: the disk is full, the file can't be written, or the row makes no sense.
        """
        return self.extend([row]) == 1

    def extend(self, rows: Iterable[EpisodeRow], runs: Iterable[Run] = ()) -> int:
        """Store rows and their runs, all or none; how many rows were new."""
        with self.writing() as db:
            db.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", map(_run_values, runs))
            before = db.total_changes
            db.executemany(_INSERT, map(_row_values, rows))
            return (db.total_changes - before) // 2  # The trigger's update of the counter is a change, too.

    def rows(self, protocol: str | None = None) -> list[EpisodeRow]:
        """Of each episode the row that counts, oldest first."""
        return self._select("results", protocol)

    def attempts(self) -> list[EpisodeRow]:
        """All rows, oldest first, also of episodes that were played again after they broke off."""
        return self._select("episodes", None)

    def done(self, key: EpisodeKey, protocol_hash: str) -> set[tuple[str, int]]:
        """(task, seed) of the episodes that were played to their end by the agent of ``key``."""
        query = (
            "SELECT task, seed FROM episodes WHERE protocol = ? AND protocol_hash = ? AND agent = ? AND checkpoint = ? "
            "AND error = ''"
        )
        with self.explained():
            return set(self._db.execute(query, (key.protocol, protocol_hash, key.agent, key.checkpoint)))

    def runs(self) -> list[Run]:
        """What is known of the runs, in no particular order."""
        with self.explained():
            found = self._db.execute("SELECT id, protocol, agent, checkpoint, record FROM runs").fetchall()
        return [run_of(values) for values in found]

    def count(self) -> int:
        """Number of rows, all attempts."""
        with self.explained():
            return self._db.execute("SELECT rows FROM tally").fetchone()[0]

    def query(self, sql: str, values: Iterable[Any] = ()) -> list[tuple]:
        """Result of a SELECT, mostly over ``results``."""
        with self.explained():
            return self._db.execute(sql, tuple(values)).fetchall()

    def _select(self, table: str, protocol: str | None) -> list[EpisodeRow]:
        where, values = ("WHERE protocol = ?", (protocol,)) if protocol is not None else ("", ())
        return [row_of(found) for found in self.query(f"SELECT {STORED} FROM {table} {where} ORDER BY id", values)]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: what happens inside is on disk afterwards, or did not happen."""
        with self.explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back when the disk is full.
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """SQLite's errors as errors a user can mend."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"store={str(self.path)!r} can't be used ({error}); its rows are kept: see that the disk has room, the "
                "file may be written and no other process holds it, then go on"
            ) from error
        except sqlite3.IntegrityError as error:
            raise UserError(f"store={str(self.path)!r} takes no row like that ({error})") from error
        except sqlite3.DatabaseError as error:
            raise damaged(self.path, str(error)) from error


def connect(path: Path, writable: bool = True) -> sqlite3.Connection:
    """A connection without implicit transactions.

    Raises:
        UserError: the file can't be opened.
    """
    address = path.resolve().as_uri()
    try:
        if writable:
            return sqlite3.connect(f"{address}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        return _connect_to_read(address, path)
    except sqlite3.OperationalError as error:
        raise UserError(f"store={str(path)!r} can't be opened ({error}); see that the file can be read") from error


def _connect_to_read(address: str, path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        # In a folder that can't be written to SQLite can't coordinate with writers, which there can't be either.
        db.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        db = sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
    except sqlite3.DatabaseError:
        pass  # Not a database, or damaged: said by those who look into it.
    return db


def _create(path: Path) -> None:
    """Make an empty store. It appears complete or not at all, and one that another process makes meanwhile stays."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}")
        try:
            db = sqlite3.connect(staged, isolation_level=None)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            finally:
                db.close()
            if path.exists() and not path.stat().st_size:
                path.unlink(missing_ok=True)
            with suppress(FileExistsError):
                os.link(staged, path)
        finally:
            for name in (staged.name, staged.name + "-wal", staged.name + "-shm", staged.name + "-journal"):
                staged.with_name(name).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"store={str(path)!r} can't be made ({error}); give another file") from error


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """UserError unless the file is a store that this version reads."""
    try:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if "not a database" not in str(error):
            raise
        raise UserError(
            f"store={str(path)!r} is no result store ({error}); give a file that `eval --store` has written"
        ) from error
    if application != APPLICATION_ID:
        raise UserError(f"store={str(path)!r} is a database of something else; give a result store")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"store={str(path)!r} has schema {version}, newer than {SCHEMA_VERSION}, the newest that this version of "
            "sfvgen-plan reads; update it"
        )


def find_damage(db: sqlite3.Connection, thorough: bool) -> str:
    """What is wrong with the file, or nothing."""
    try:
        (verdict,) = db.execute(f"PRAGMA {'integrity_check' if thorough else 'quick_check'}(1)").fetchone()
        if verdict != "ok":
            return str(verdict)
        db.execute("BEGIN")
        try:
            (wanted,) = db.execute("SELECT rows FROM tally").fetchone()
            if thorough:
                return _first_spoilt(db, wanted)
            (found,) = db.execute("SELECT COUNT(*) FROM episodes NOT INDEXED").fetchone()
            return "" if found == wanted else f"{found} of {wanted} rows are there"
        finally:
            db.execute("ROLLBACK")
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, TypeError) as error:
        return str(error)


def _first_spoilt(db: sqlite3.Connection, wanted: int) -> str:
    found = 0
    for number, *values, checksum in db.execute(f"SELECT id, {STORED}, checksum FROM episodes NOT INDEXED"):
        found += 1
        if checksum_of(values) != checksum:
            return f"row {number} is not what was written"
    return "" if found == wanted else f"{found} of {wanted} rows are there"


def damaged(path: Path, problem: str) -> UserError:
    return UserError(
        f"store={str(path)!r} is damaged ({' '.join(problem.split())}); nothing was changed: "
        "restore it from a copy, or play its episodes again"
    )


def is_store(path: Path) -> bool:
    """Whether the file looks like SQLite, or is called so."""
    if path.suffix in (".sqlite", ".db"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def checksum_of(values: Iterable[Any]) -> int:
    """64 bits of a row's values, as a signed number."""
    return int.from_bytes(blake2b(repr(tuple(values)).encode(), digest_size=8).digest(), "big", signed=True)


def row_of(values: Iterable[Any]) -> EpisodeRow:
    """The row with these stored values."""
    row = list(values)
    row[4], row[5] = bool(row[4]), bool(row[5])
    return EpisodeRow(*row)


def run_of(values: Sequence[Any]) -> Run:
    """The run with these stored values, the last of them JSON."""
    number, protocol, agent, checkpoint, record = values
    return Run(number, protocol, agent, checkpoint, json.loads(record))


def _row_values(row: EpisodeRow) -> tuple:
    try:
        values = list(astuple(row.check()))
    except ValueError as error:
        raise UserError(
            f"row of {row.agent!r} on {row.task!r} seed {row.seed} makes no sense ({error}); nothing of it was stored"
        ) from error
    values[4], values[5], values[6], values[8] = (
        int(row.success_any),
        int(row.success_final),
        float(row.return_),
        float(row.plan_seconds),
    )
    values[11] = " ".join(row.error.split())
    return (*values, checksum_of(values))


def _run_values(run: Run) -> tuple[str, ...]:
    settings = json.dumps(run.record.get("settings", {}), sort_keys=True)
    return run.id, run.protocol, run.agent, run.checkpoint, settings, json.dumps(run.record, sort_keys=True)


def now() -> str:
    """The time in UTC, for records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
