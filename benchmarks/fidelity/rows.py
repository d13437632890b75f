"""Files of a fidelity run: a row per (policy, task, seed), and what they were made with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.errors import UserError, reason

ROWS, RECORD = "fidelity.csv", "run.json"


@dataclass(frozen=True)
class FidelityRow:
    """One episode in both simulators. ``decisions`` are those played, ``reward`` is the mean over them,
    ``imagined_peak`` the largest success probability."""

    policy: str
    kind: str
    task: str
    seed: int
    real_success: bool = False
    imagined_success: bool = False
    real_decisions: int = 0
    imagined_decisions: int = 0
    real_reward: FiniteFloat = 0.0
    imagined_reward: FiniteFloat = 0.0
    imagined_peak: FiniteFloat = 0.0
    error: str = ""


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
        self.rows = read_rows(folder / ROWS) if (folder / ROWS).exists() else []
        wanted = json.loads(json.dumps(dict(record)))
        try:
            before = json.loads((folder / RECORD).read_text()) if self.rows else wanted
        except (OSError, ValueError):
            raise UserError(f"out={str(folder)!r} holds rows without a {RECORD}; give another folder") from None
        for name in {**before, **wanted}:
            if before.get(name) != wanted.get(name):
                raise UserError(
                    f"out={str(folder)!r} holds rows with {name}={before.get(name)!r}, not {wanted.get(name)!r}; "
                    "give another folder"
                )
        write_text(folder / RECORD, json.dumps(wanted, indent=1) + "\n")

    def missing(self, policy: str, episodes: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """The (task, seed) that ``policy`` has not played to the end; those that broke off are played again."""
        done = {(row.task, row.seed) for row in self.rows if row.policy == policy and not row.error}
        return [episode for episode in episodes if episode not in done]

    def add(self, rows: Sequence[FidelityRow]) -> None:
        """Store rows, in place of earlier ones of the same episodes; on disk when this returns."""
        self.rows = list({(row.policy, row.task, row.seed): row for row in [*self.rows, *rows]}.values())
        values = [[int(x) if isinstance(x, bool) else x for x in astuple(row)] for row in self.rows]
        cells = [[f"{x:.6g}" if isinstance(x, float) else x for x in line] for line in values]
        write_text(self.folder / ROWS, csv_text([[item.name for item in fields(FidelityRow)], *cells]))


def read_rows(path: Path) -> list[FidelityRow]:
    """Rows of a file, in order; columns that they don't have are passed over.

    Raises:
        UserError: not a file of such rows.
    """
    try:
        found = list(csv.DictReader(io.StringIO(path.read_text())))
        return TypeAdapter(list[FidelityRow]).validate_python(found)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(f"rows={str(path)!r} are no rows of a fidelity run ({reason(error)})") from None
