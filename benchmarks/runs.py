"""Run folders: the rows of one evaluation, what was evaluated, and the tracebacks of failures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sfvgen_plan.benchmarks.episodes import Job
from sfvgen_plan.benchmarks.results import EpisodeKey, EpisodeRow, RowStore
from sfvgen_plan.errors import UserError

IDENTITY = ("protocol", "agent", "settings")
"""What has to be the same for a run to be gone on with."""


class RunFolder:
    """``episodes.csv``, ``run.json`` and ``errors.log`` in one folder, which is made when the first row is written.

    Args:
        path: the folder.
        record: what is evaluated, as JSON values; has the keys of ``IDENTITY``.
        resume: go on with the rows that are there.

    Raises:
        UserError: the folder can't be written to, holds rows though ``resume`` is not set, or holds rows of
            something else.
    """

    def __init__(self, path: Path, record: Mapping[str, Any], resume: bool = False) -> None:
        self.path = path
        self.rows = RowStore(path / "episodes.csv")
        self._record = dict(record)
        self._check_writable()
        if self.rows.path.exists():
            self._check_resumable(resume)

    def pending(self, jobs: Iterable[Job], key: EpisodeKey) -> list[Job]:
        """The jobs without a row, ``key`` giving everything of it but task and seed. Episodes that broke off count as
        not played: what broke them (memory, a killed worker) may be mended."""
        done = {row.key for row in self.rows.read() if not row.error}
        return [job for job in jobs if key._replace(task=job.task, seed=job.seed) not in done]

    def append(self, row: EpisodeRow) -> None:
        """Store a row; on disk when this returns."""
        if not (self.path / "run.json").exists():
            self.path.mkdir(parents=True, exist_ok=True)
            staged = self.path / "run.json.tmp"
            staged.write_text(json.dumps(self._record, indent=1) + "\n")
            os.replace(staged, self.path / "run.json")
        self.rows.append(row)

    def log_failure(self, job: Job, details: str) -> None:
        """Keep the traceback of an episode that broke off."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "errors.log").open("a") as file:
            file.write(f"{job.task} seed {job.seed}\n{details.rstrip()}\n\n")

    def _check_writable(self) -> None:
        folder = self.path
        while not folder.exists():
            folder = folder.parent
        try:
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(
                f"out={str(self.path)!r} can't be written to ({error.strerror}); give another folder"
            ) from None

    def _check_resumable(self, resume: bool) -> None:
        count = len(self.rows.read())
        if not resume:
            raise UserError(f"out={str(self.path)!r} holds {count} episodes; add --resume or give another folder")
        try:
            before = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError):
            raise UserError(f"out={str(self.path)!r} has no readable run.json; give another folder") from None
        for name in IDENTITY:
            if before.get(name) != self._record[name]:
                raise UserError(
                    f"out={str(self.path)!r} holds episodes with {name}={before.get(name)!r}, not "
                    f"{self._record[name]!r}; give another folder"
                )
