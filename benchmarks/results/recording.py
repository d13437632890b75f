"""Recording a run: its rows go into a store the moment they come, with what was evaluated beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow, read_rows, write_rows
from sfvgen_plan.benchmarks.results.import_export import EXPORT, STORE, completed
from sfvgen_plan.benchmarks.results.store import Run, Store
from sfvgen_plan.benchmarks.running.episodes import Job
from sfvgen_plan.errors import UserError

IDENTITY = ("protocol", "agent", "settings")
"""What has to be the same for the rows of two runs to be those of one agent."""


class Recorder:
    """Keeps the rows of one run in a store, which is made when the first row is written.

    Args:
        path: the store, which may hold rows of other runs, and may be written by other processes meanwhile.
        record: what is evaluated, as JSON values; has the keys of ``IDENTITY``.
        errors: file that gets the tracebacks of episodes that broke off.

    Raises:
        UserError: the store can't be written, is damaged, or has other settings under the agent's name.
    """

    def __init__(self, path: Path, record: Mapping[str, Any], errors: Path | None = None) -> None:
        self.path = path
        self.errors = errors or path.with_suffix(".errors.log")
        self._record = dict(record)
        self._run: Run | None = None
        check_writable(path)
        self._store: Store | None = Store(path) if path.exists() and path.stat().st_size else None
        try:
            self._check_settings()
        except BaseException:
            self.close()
            raise

    def pending(self, jobs: Iterable[Job], key: EpisodeKey, protocol_hash: str) -> list[Job]:
        """The jobs that were not played to their end, ``key`` giving everything of it but task and seed. Episodes
        that broke off count as not played: what broke them (memory, a killed worker) may be mended."""
        done = self._store.done(key, protocol_hash) if self._store else set()
        return [job for job in jobs if (job.task, job.seed) not in done]

    def note(self, name: str, value: Any) -> None:
        """Put a JSON value into the record; for what is known only after the recorder was made."""
        self._record[name] = value

    def append(self, row: EpisodeRow) -> bool:
        """Store a row; on disk when this returns. False: another process has stored that episode meanwhile."""
        store = self._open()
        if self._run is None:
            self._run = Run.new(row.agent, row.protocol, row.checkpoint, {**self._record, "device": row.device})
            store.extend([], [self._run])
        return store.append(replace(row, run=self._run.id))

    def rows(self, protocol: str | None = None) -> list[EpisodeRow]:
        """Rows of the store, of each episode the one that counts; those of one protocol or all."""
        return self._store.rows(protocol) if self._store else []

    def log_failure(self, job: Job, details: str) -> None:
        """Keep the traceback of an episode that broke off."""
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        with self.errors.open("a") as file:
            file.write(f"{job.task} seed {job.seed}\n{details.rstrip()}\n\n")

    def close(self) -> None:
        if self._store:
            self._store.close()

    def _open(self) -> Store:
        if self._store is None:
            self._store = Store(self.path, create=True)
        return self._store

    def _check_settings(self) -> None:
        for run in self._store.runs() if self._store else []:
            same = (run.protocol, run.agent) == (self._record["protocol"], self._record["agent"])
            if same and run.record.get("settings") != self._record["settings"]:
                raise UserError(
                    f"store={str(self.path)!r} holds episodes of agent {run.agent!r} with settings="
                    f"{run.record.get('settings')!r}, not {self._record['settings']!r}; name this one with --label"
                )


class RunFolder(Recorder):
    """A folder for one evaluation: ``results.sqlite``, ``errors.log``, and ``episodes.csv``, which is written when the
    evaluation ends. A folder that only has the last, from an older version, is taken over.

    Args:
        path: the folder, which is made when the first row is written.
        record: what is evaluated, as JSON values; has the keys of ``IDENTITY``.
        resume: go on with the rows that are there.

    Raises:
        UserError: the folder can't be written to, holds rows though ``resume`` is not set, or holds rows of
            something else.
    """

    def __init__(self, path: Path, record: Mapping[str, Any], resume: bool = False) -> None:
        self.folder = path
        check_writable(path / STORE)
        count, before = _contents(path)
        if count and not resume:
            raise UserError(f"out={str(path)!r} holds {count} episodes; add --resume or give another folder")
        for earlier in before:
            for name in IDENTITY:
                if earlier.get(name) != record[name]:
                    raise UserError(
                        f"out={str(path)!r} holds episodes with {name}={earlier.get(name)!r}, not {record[name]!r}; "
                        "give another folder"
                    )
        if count:
            _take_over(path)
        super().__init__(path / STORE, record, path / "errors.log")

    def export(self) -> Path:
        """Write ``episodes.csv`` and return its path."""
        write_rows(self.folder / EXPORT, self.rows())
        return self.folder / EXPORT


def _contents(folder: Path) -> tuple[int, list[Mapping[str, Any]]]:
    """How many episodes are in a run folder, and the records of their runs."""
    if (folder / STORE).exists() and (folder / STORE).stat().st_size:
        with Store(folder / STORE, writable=False, thorough=False) as store:
            return len(store.rows()), [run.record for run in store.runs()]
    if not (folder / EXPORT).exists():
        return 0, []
    try:
        return len(read_rows(folder / EXPORT)), [json.loads((folder / "run.json").read_text())]
    except (OSError, ValueError):
        raise UserError(f"out={str(folder)!r} has no readable run.json; give another folder") from None


def _take_over(folder: Path) -> None:
    """Put the rows of a folder that has no store yet into one."""
    if not (folder / STORE).exists():
        rows = completed(read_rows(folder / EXPORT))
        record = json.loads((folder / "run.json").read_text())
        run = Run.new(rows[0].agent, rows[0].protocol, rows[0].checkpoint, record)
        with Store(folder / STORE, create=True) as store:
            store.extend([replace(row, run=run.id) for row in rows], [run])


def check_writable(path: Path) -> None:
    """UserError unless ``path`` can be made or changed."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with TemporaryFile(dir=folder):
            pass
        if path.exists():
            path.open("r+b").close()
    except OSError as error:
        raise UserError(f"out={str(path)!r} can't be written to ({error.strerror}); give another place") from None
