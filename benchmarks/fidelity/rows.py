"""Files of a fidelity run: a row per (policy, task, seed), its moments, and what they were made with.

A block of episodes is written when all of them are done: moments first, rows last, so a row says that everything of its
episode is there. What a kill left behind without rows is dropped when the run goes on.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import FiniteFloat, ValidationError
from pydantic.dataclasses import dataclass

from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.errors import UserError, reason

ROWS, MOMENTS, RECORD = "fidelity.csv", "moments.csv", "run.json"

Key = tuple[str, str, int]
"""(policy, task, seed)."""


@dataclass(frozen=True)
class FidelityRow:
    """One episode in both simulators; see ``fidelity.py`` for the four verdicts. ``decisions`` are those played,
    ``reward`` is the mean over them, ``imagined_peak`` the largest success probability."""

    policy: str
    kind: str
    task: str
    seed: int
    real_success: bool = False
    imagined_success: bool = False
    replayed_success: bool = False
    judged_success: bool = False
    real_decisions: int = 0
    imagined_decisions: int = 0
    real_reward: FiniteFloat = 0.0
    imagined_reward: FiniteFloat = 0.0
    imagined_peak: FiniteFloat = 0.0
    error: str = ""

    @property
    def key(self) -> Key:
        return self.policy, self.task, self.seed


@dataclass(frozen=True)
class Moment:
    """The state after one decision of the real episode, and after the same actions in imagination. Places in metres,
    PSNR in dB (``copy``: of the start frame). ``read`` is how far the read-outs of the real frame are off, ``repeat``
    how far apart two imaginations of the same actions are."""

    policy: str
    task: str
    seed: int
    decision: int
    psnr: FiniteFloat
    copy_psnr: FiniteFloat
    real_hand_x: FiniteFloat
    real_hand_y: FiniteFloat
    real_hand_z: FiniteFloat
    real_object_x: FiniteFloat
    real_object_y: FiniteFloat
    real_object_z: FiniteFloat
    imagined_hand_x: FiniteFloat
    imagined_hand_y: FiniteFloat
    imagined_hand_z: FiniteFloat
    imagined_object_x: FiniteFloat
    imagined_object_y: FiniteFloat
    imagined_object_z: FiniteFloat
    read_hand: FiniteFloat
    read_object: FiniteFloat
    repeat_hand: FiniteFloat
    repeat_object: FiniteFloat

    @property
    def key(self) -> Key:
        return self.policy, self.task, self.seed


Row = TypeVar("Row", FidelityRow, Moment)


class FidelityRun:
    """The folder of a run, new or gone on with.

    Args:
        folder: made when it isn't there.
        record: what all its rows depend on, as JSON values.

    Raises:
        UserError: the folder holds rows made with something else, damaged ones, or can't be written.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check(record)
            found = read_rows(folder / ROWS, FidelityRow) if (folder / ROWS).exists() else []
            # Episodes that broke off are played again.
            self.rows = list({row.key: row for row in found if not row.error}.values())
            keys = {row.key for row in self.rows}
            moments = read_rows(folder / MOMENTS, Moment) if (folder / MOMENTS).exists() else []
            # The newest block of an episode counts: an earlier one may have been written without its row.
            latest = {(*moment.key, moment.decision): moment for moment in moments}
            self.moments = [moment for moment in latest.values() if moment.key in keys]
            write_rows(folder / MOMENTS, Moment, self.moments)
            write_rows(folder / ROWS, FidelityRow, self.rows)
        except OSError as error:
            raise UserError(f"out={str(folder)!r} can't be written ({error.strerror}); give another folder") from None

    def missing(self, policy: str, episodes: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """The (task, seed) that ``policy`` has not played to the end."""
        done = {row.key for row in self.rows if not row.error}
        return [(task, seed) for task, seed in episodes if (policy, task, seed) not in done]

    def add(self, rows: Sequence[FidelityRow], moments: Sequence[Moment]) -> None:
        """Store a block; on disk when this returns."""
        _append(self.folder / MOMENTS, moments)
        _append(self.folder / ROWS, rows)
        self.rows += rows
        self.moments += moments

    def _check(self, record: Mapping[str, Any]) -> None:
        file = self.folder / RECORD
        wanted = json.loads(json.dumps(dict(record)))
        if not file.exists():
            if (self.folder / ROWS).exists():
                raise UserError(f"out={str(self.folder)!r} holds rows without {RECORD}; give another folder")
            write_text(file, json.dumps(wanted, indent=1) + "\n")
            return
        try:
            before = dict(json.loads(file.read_text()))
        except (ValueError, TypeError):
            raise UserError(f"out={str(self.folder)!r} has no readable {RECORD}; give another folder") from None
        for name in {**before, **wanted}:
            if before.get(name) != wanted.get(name):
                raise UserError(
                    f"out={str(self.folder)!r} holds rows with {name}={before.get(name)!r}, not "
                    f"{wanted.get(name)!r}; give another folder"
                )


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Rows of a file in order, without a last one that a crash has torn.

    Raises:
        UserError: not a file of such rows.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"rows={str(path)!r} can't be read ({error}); give one written by fidelity") from None
    rows = []
    for number, values in enumerate(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])), start=2):
        try:
            rows.append(kind(**cast("dict[str, Any]", values)))
        except (TypeError, ValidationError) as error:
            raise UserError(f"rows={str(path)!r} line {number} is no row of a fidelity run ({reason(error)})") from None
    return rows


def write_rows(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    """Write a file of rows anew, as a whole or not at all."""
    write_text(path, csv_text([[item.name for item in fields(kind)], *map(_values, rows)]))


def _append(path: Path, rows: Sequence[FidelityRow] | Sequence[Moment]) -> None:
    with path.open("a") as file:
        file.write(csv_text(map(_values, rows)))
        file.flush()
        os.fsync(file.fileno())


def _values(row: FidelityRow | Moment) -> list[Any]:
    values = [int(value) if isinstance(value, bool) else value for value in astuple(row)]
    return [f"{value:.6g}" if isinstance(value, float) else value for value in values]
