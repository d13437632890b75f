"""Recording a run: its rows go into a store the moment they come, with what was evaluated beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sfvgen_plan.benchmarks.results.merging import EXPORT, STORE
from sfvgen_plan.benchmarks.results.row import EpisodeKey, EpisodeRow, write_rows
from sfvgen_plan.benchmarks.results.store import STORES, Run, Store
from sfvgen_plan.errors import UserError

IDENTITY = ("protocol", "agent", "settings")
"""What has to be the same for the rows of two runs to be those of one agent."""


class Recorder:
    """Keeps the rows of one run in a store, which is made when the first row is written.

    Args:
        path: the store, a file that ends in .sqlite or .db; or a folder for ``results.sqlite``, ``errors.log``, and
            ``episodes.csv``, which is written at the end. It may hold rows of other runs, and may be written by other
            processes meanwhile.
        record: what is evaluated, as JSON values; has the keys of ``IDENTITY``.

    Raises:
        UserError: it can't be written, is damaged, or has other settings under the agent's name.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        is_file = path.suffix in STORES
        self.path = path if is_file else path / STORE
        self.errors = path.with_suffix(".errors.log") if is_file else path / "errors.log"
        self._export = None if is_file else path / EXPORT
        self._record = dict(record)
        self._run: Run | None = None
        check_writable(self.path)
        self._store = Store(self.path) if self.path.exists() else None
        for run in self._store.runs() if self._store else []:
            changed = [name for name in IDENTITY if run.record.get(name) != record[name]]
            if changed and (run.protocol, run.agent) == (record["protocol"], record["agent"]):
                self.close()
                name = changed[0]
                raise UserError(
                    f"out={str(path)!r} holds episodes of {run.agent!r} with {name}={run.record.get(name)!r}, not "
                    f"{record[name]!r}; give another place, or another name with --label"
                )

    def played(self, keys: Iterable[EpisodeKey], protocol_hash: str) -> dict[EpisodeKey, EpisodeRow]:
        """The row that counts of each of these episodes, as far as there is one under rules of that hash."""
        rows = self._store.rows() if self._store else []
        found = {row.key: row for row in rows if row.protocol_hash == protocol_hash}
        return {key: found[key] for key in keys if key in found}

    def append(self, row: EpisodeRow) -> bool:
        """Store a row; on disk when this returns. False: another process has stored that episode meanwhile."""
        if self._store is None:
            self._store = Store(self.path, create=True)
        if self._run is None:
            self._run = Run.new(row.agent, row.protocol, row.checkpoint, {**self._record, "device": row.device})
            self._store.extend([], [self._run])
        return self._store.append(replace(row, run=self._run.id))

    def log_failure(self, episode: str, details: str) -> None:
        """Keep the traceback of an episode that broke off."""
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        with self.errors.open("a") as file:
            file.write(f"{episode}\n{details.rstrip()}\n\n")

    def close(self) -> Path:
        """Close the store, in a folder write its rows as CSV too, and return the file to name to people."""
        if self._store is None:
            return self.path
        with closing(self._store):
            if self._export is not None:
                write_rows(self._export, self._store.rows())
        return self._export or self.path


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
