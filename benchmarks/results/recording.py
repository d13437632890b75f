"""Recording a run: its rows go into a store the moment they come, with what was evaluated beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from sfvgen_plan.benchmarks.results.reading import EXPORT, STORE
from sfvgen_plan.benchmarks.results.row import EpisodeKey, EpisodeRow, write_rows
from sfvgen_plan.benchmarks.results.store import STORES, Store
from sfvgen_plan.io import check_writable
from sfvgen_plan.nested import check_same


class Recorder:
    """Keeps the rows of one run in a store, which is made when the first row is written.

    Args:
        path: the store, a file that ends in .sqlite or .db; or a folder for ``results.sqlite``, ``errors.log``, and
            ``episodes.csv``, which is written at the end. It may hold rows of other runs, and may be written by other
            processes meanwhile.
        record: what is evaluated, as JSON values; with ``protocol``, ``agent`` and ``settings``.

    Raises:
        UserError: it can't be written, is damaged, or has other settings under the agent's name.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        is_file = path.suffix in STORES
        self.path = path if is_file else path / STORE
        self.errors = path.with_suffix(".errors.log") if is_file else path / "errors.log"
        self._export = None if is_file else path / EXPORT
        self._run, self._record = uuid4().hex[:16], record
        check_writable(self.path, "out")
        self._store = Store(self.path) if self.path.exists() else None
        for before in self._store.records() if self._store else []:
            if all(before[name] == record[name] for name in ("protocol", "agent")):
                there = f"out={str(path)!r} has episodes of {record['agent']!r}, which --label may name otherwise,"
                check_same(there, before["settings"], record["settings"])

    def played(self, keys: Iterable[EpisodeKey], protocol_hash: str) -> dict[EpisodeKey, EpisodeRow]:
        """The rows of these episodes, as far as there are any under rules of that hash."""
        rows = self._store.rows() if self._store else []
        found = {row.key: row for row in rows if row.protocol_hash == protocol_hash}
        return {key: found[key] for key in keys if key in found}

    def append(self, row: EpisodeRow) -> None:
        """Store a row; on disk when this returns, unless another process has stored that episode meanwhile."""
        if self._store is None:
            self._store = Store(self.path, create=True)
        self._store.add([replace(row, run=self._run)], self._run, {**self._record, "device": row.device})

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
