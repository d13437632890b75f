"""The result store: an SQLite file with a row per episode, which is on disk the moment the episode has ended.

Any number of processes may write it at a time. A unique index keeps two that play the same episode from counting it
twice; one that broke off may be played again, and its new row takes the place of the old. SQLite commits every row by
itself with full synchronisation, so a process that is killed loses at most the row that it was about to store.
"""

import csv
import json
import platform
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from sfvgen_plan.benchmarks.results.files import read_rows, write_rows
from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeKey, EpisodeRow
from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import check_writable
from sfvgen_plan.run_note import check_same

STORES = (".sqlite", ".db")  # how the names of stores end

STORE, EXPORT = "results.sqlite", "episodes.csv"
"""Names in a run folder: the store, and its rows for programs that read CSV."""

APPLICATION_ID, VERSION = 0x5F6E0001, 3
"""Header fields that tell a result store from other SQLite files, and from those of other versions."""

PACKAGES = ("sfvgen-plan", "metaworld", "mujoco", "gymnasium", "torch", "diffusers", "numpy")
"""Whose versions are kept with a run."""

BUSY_SECONDS = 60.0  # how long to wait for other processes that write
_COLUMNS = ", ".join(f'"{column}"' for column in COLUMNS)
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS runs (id PRIMARY KEY, record);
    CREATE TABLE IF NOT EXISTS episodes
        ({_COLUMNS}, UNIQUE (protocol, protocol_hash, agent, checkpoint, task, seed));
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    COMMIT;
"""
_INSERT = (
    f"INSERT INTO episodes ({_COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f'"{column}" = excluded."{column}"' for column in COLUMNS)
    + " WHERE episodes.error <> ''"
)


class Store:
    """Rows of any number of runs in one SQLite file, made if ``create``; unless ``writable`` it is left as it is.
    Raises UserError: no such file, not a store, a store of another version, or a damaged one."""

    def __init__(self, path: Path, *, create: bool = False, writable: bool = True) -> None:
        self.path = path
        if not path.exists() and not create:
            raise UserError(f"store={str(path)!r} doesn't exist; give the file of a result store")
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            address = f"{path.resolve().as_uri()}?mode={'rwc' if create else 'rw' if writable else 'ro'}"
            self._db = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE")
            try:
                self._check(create)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def add(self, rows: Iterable[EpisodeRow], run: str = "", record: Mapping[str, Any] | None = None) -> int:
        """Store rows, all or none; how many of them were new. An episode that is there already, and didn't break off,
        stays as it is. ``run``: the id of theirs, unless they have it, whose ``record`` is kept. Raises UserError: the
        disk is full, or the file can't be written."""
        with self._explained(), self._db:
            if record is not None:
                self._db.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run, json.dumps(record)))
            before = self._db.total_changes
            own = {"run": run} if run else {}
            self._db.executemany(_INSERT, [tuple((row.values() | own).values()) for row in rows])
            return self._db.total_changes - before

    def rows(self) -> list[EpisodeRow]:
        """All rows, in the order in which their episodes were first played."""
        with self._explained():
            found = self._db.execute(f"SELECT {_COLUMNS} FROM episodes ORDER BY rowid")
            return [EpisodeRow(**dict(zip(COLUMNS, values, strict=True))) for values in found]

    def records(self) -> list[dict[str, Any]]:
        """What is known of the runs, in the order in which they began."""
        with self._explained():
            return [json.loads(record) for (record,) in self._db.execute("SELECT record FROM runs ORDER BY rowid")]

    def _check(self, create: bool) -> None:
        """UserError unless this is a store, of this version, and whole; an empty file becomes one if it may."""
        if create and not self._one("SELECT count(*) FROM sqlite_master"):
            self._db.executescript(_SCHEMA)
        if (self._one("PRAGMA application_id"), self._one("PRAGMA user_version")) != (APPLICATION_ID, VERSION):
            raise UserError(
                f"store={str(self.path)!r} is no result store of this version; give a file that `eval --store` wrote"
            )
        if (problem := self._one("PRAGMA quick_check(1)")) != "ok":
            raise sqlite3.DatabaseError(problem)
        self._db.execute("PRAGMA synchronous = FULL")

    def _one(self, question: str) -> Any:
        return self._db.execute(question).fetchone()[0]

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


class Recorder:
    """Keeps the rows of one run in a store, which is made when the first row is written, and may hold rows of other
    runs, and be written by other processes meanwhile. Raises UserError: it can't be written, is damaged, or has other
    settings under the agent's name.

    Args:
        path: the store, a file that ends in .sqlite or .db; or a folder for it, ``errors.log``, and ``episodes.csv``.
        record: what is evaluated, as JSON values; with ``protocol``, ``agent`` and ``settings``.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        is_file = path.suffix in STORES
        self.path = path if is_file else path / STORE
        self.errors = path.with_suffix(".errors.log") if is_file else path / "errors.log"
        self._export = None if is_file else path / EXPORT
        self._run, self._record = uuid4().hex[:16], record
        check_writable(path, "out")
        self._store = Store(self.path) if self.path.exists() else None
        for before in self._store.records() if self._store else []:
            if all(before[name] == record[name] for name in ("protocol", "agent")):
                there = f"out={str(path)!r} has episodes of {record['agent']!r}, which --label may name otherwise,"
                who = record.get("who")
                theirs, ours = ({"agent": one.get("who", who), **one["settings"]} for one in (before, record))
                check_same(there, theirs, ours)

    def played(self, keys: Iterable[EpisodeKey], protocol_hash: str) -> dict[EpisodeKey, EpisodeRow]:
        """The rows of these episodes, as far as there are any under rules of that hash."""
        rows = self._store.rows() if self._store else []
        found = {row.key: row for row in rows if row.protocol_hash == protocol_hash}
        return {key: found[key] for key in keys if key in found}

    def append(self, row: EpisodeRow) -> None:
        """Store a row; on disk when this returns, unless another process has stored that episode meanwhile."""
        if self._store is None:
            self._store = Store(self.path, create=True)
        self._store.add([row], self._run, {**self._record, "device": row.device})

    def log_failure(self, episode: str, details: str) -> None:
        """Keep the traceback of an episode that broke off."""
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        with self.errors.open("a") as file:
            file.write(f"{episode}\n{details.rstrip()}\n\n")

    def close(self) -> Path:
        """Close the store, in a folder write its rows as CSV too, and return the file to name to people."""
        if self._store is None:
            return self.path
        with self._store as store:
            if self._export is not None:
                write_rows(self._export, store.rows(), EpisodeRow)
        return self._export or self.path


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


def now() -> str:
    """The time in UTC, for records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def provenance() -> dict[str, Any]:
    """JSON values for the record of a run: ``versions``, ``git_commit`` (None outside a checkout), ``started``."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"versions": versions, "git_commit": git_commit(), "started": now()}


def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, with "+changes" if tracked files differ from it."""
    file = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        # A site-packages inside somebody else's repository is not a checkout of ours.
        git("ls-files", "--error-unmatch", file.name)
        return git("rev-parse", "HEAD") + "+changes" * bool(git("status", "--porcelain", "--untracked-files=no"))
    return None
