"""Files of ``sfvgen-plan bench memory``: one row per (row of the ablation, episode), on disk when the episode is done.

Beside ``<name>.csv`` lies ``<name>.json``, which says of each ablation row what it was made with: rows of another
checkpoint, or measured otherwise, are never mixed in. Rows that were measured side by side, each in a folder of its
own, come together with ``python -m sfvgen_plan.benchmarks.memory.rows FOLDER ... --into FOLDER``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfvgen_plan.arguments import add_output_arguments, exit_code
from sfvgen_plan.benchmarks.results.files import write_text
from sfvgen_plan.console import Output
from sfvgen_plan.errors import UserError
from sfvgen_plan.memory.rows import ROWS

FEATURES = "memory_features"
"""Folder of the clips' features, which distances between sets of videos are computed from."""

REVISIT, RETURN, VIDEO = "memory_revisit", "memory_return", "memory_video"
COLUMNS: dict[str, tuple[str, ...]] = {
    REVISIT: ("row", "episode", "psnr_revisit_db", "cosine_revisit", "scene_cuts"),
    RETURN: ("row", "episode", "distance_m", "success_5cm"),
    VIDEO: (
        "row", "episode", "revisits", "ssim_revisit", "lpips_revisit", "src", "copy_psnr_db", "self_psnr_db",
        "true_scene_cuts", "hand_error_cm", "object_error_cm",
    ),
}  # fmt: skip
"""Of each file; an empty cell is a metric that could not be had."""

_DIGITS = 5

Values = Mapping[str, float | int | bool | None]


class MemoryRows:
    """The rows of one file.

    Args:
        folder: made if it is missing.
        name: ``REVISIT``, ``RETURN`` or ``VIDEO``.

    Raises:
        UserError: what is there is something else.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.csv"
        self.columns = COLUMNS[name]
        self._settings_file = folder / f"{name}.json"
        self.rows: dict[tuple[str, int], dict[str, float | None]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._read()
        except (OSError, ValueError) as error:
            raise UserError(f"out={str(self.path)!r} can't be used ({error}); choose another folder") from error

    def claim(self, row: str, settings: Mapping[str, Any]) -> None:
        """Say what the coming episodes of ``row`` are made with.

        Raises:
            UserError: there are episodes of it that were made with something else.
        """
        there = self._settings.get(row)
        if there is not None and any(name == row for name, _ in self.rows):
            # What could not be measured at first may be added later.
            different = [key for key in settings if there.get(key) not in (None, settings[key])]
            if different:
                found = ", ".join(f"{key}={there.get(key)}" for key in different)
                asked = ", ".join(f"{key}={settings[key]}" for key in different)
                raise UserError(
                    f"out={str(self.path)!r} has row {row!r} with {found}, but {asked} was asked for; "
                    "choose another folder or delete those rows"
                )
        self._settings[row] = dict(settings)
        write_text(self._settings_file, json.dumps(self._settings, indent=1, sort_keys=True) + "\n")

    def missing(self, row: str, episodes: Sequence[int], needed: Sequence[str] = ()) -> list[int]:
        """Those of ``episodes`` that have no row yet, or one whose cell in a column of ``needed`` is empty."""
        return [
            episode
            for episode in episodes
            if (row, episode) not in self.rows or any(self.rows[row, episode][column] is None for column in needed)
        ]

    def add(self, row: str, episode: int, values: Values) -> None:
        """Store an episode, in place of an earlier one of the same key."""
        kept = {column: _number(values[column]) for column in self.columns[2:]}
        again = (row, episode) in self.rows
        self.rows[row, episode] = kept
        if again or not self.path.exists():
            self.sort()
            return
        with self.path.open("a", newline="") as file:
            file.write(self._line(row, episode))
            file.flush()
            os.fsync(file.fileno())

    def sort(self) -> None:
        """Write the file again, in the order of the tables."""
        keys = sorted(self.rows, key=lambda key: (ROWS.index(key[0]), key[1]))
        self.rows = {key: self.rows[key] for key in keys}
        write_text(self.path, ",".join(self.columns) + "\n" + "".join(self._line(*key) for key in keys))

    def values(self, row: str, column: str) -> dict[int, float]:
        """Episode -> value, of the episodes that have one."""
        found = {episode: values[column] for (name, episode), values in self.rows.items() if name == row}
        return {episode: value for episode, value in sorted(found.items()) if value is not None}

    def settings(self, row: str) -> Mapping[str, Any]:
        """What ``row`` was made with; empty if there is nothing of it."""
        return self._settings.get(row, {})

    def _read(self) -> None:
        text = self._settings_file.read_text() if self._settings_file.exists() else "{}"
        self._settings: dict[str, dict[str, Any]] = json.loads(text)
        if not self.path.exists():
            return
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a kill may have torn the last line
        reader = csv.DictReader(io.StringIO(whole))
        if tuple(reader.fieldnames or ()) != self.columns:
            raise ValueError(f"its columns are {','.join(reader.fieldnames or ())}")
        for line in reader:
            if line["row"] not in ROWS:
                raise ValueError(f"it has a row {line['row']!r}")
            values = {column: float(line[column]) if line[column] else None for column in self.columns[2:]}
            self.rows[line["row"], int(line["episode"])] = values
        if whole != text:
            self.sort()

    def _line(self, row: str, episode: int) -> str:
        cells = [
            "" if value is None else f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")
            for value in self.rows[row, episode].values()
        ]
        return ",".join([row, str(episode), *cells]) + "\n"


def _number(value: float | int | bool | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)


def merge(source: Path, into: Path) -> int:
    """Put the rows and features of one folder into another; how many rows there were.

    Raises:
        UserError: a folder without rows, or rows that were made with something else than those already there.
    """
    found = [MemoryRows(source, name) for name in COLUMNS if (source / f"{name}.csv").is_file()]
    if not found:
        raise UserError(f"folder={str(source)!r} holds no rows of sfvgen-plan bench memory; give one that does")
    for rows in found:
        whole = MemoryRows(into, rows.path.stem)
        for row in dict.fromkeys(name for name, _ in rows.rows):
            if rows.settings(row):
                whole.claim(row, rows.settings(row))
            elif rows.path.stem != VIDEO:  # those stand beside rows of memory/revisit, which say it
                raise UserError(
                    f"folder={str(source)!r} doesn't say in {rows.path.stem}.json what row {row!r} was made with; "
                    "give the whole folder that sfvgen-plan bench memory wrote"
                )
        whole.rows |= rows.rows
        whole.sort()
    if (source / FEATURES).is_dir():
        shutil.copytree(source / FEATURES, into / FEATURES, dirs_exist_ok=True)
    return sum(len(rows.rows) for rows in found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sfvgen_plan.benchmarks.memory.rows", description="Bring rows of several folders together."
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of sfvgen-plan bench memory")
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="made if it is missing")
    add_output_arguments(parser)
    args = parser.parse_args(arguments)

    def run() -> None:
        counts = {str(folder): merge(folder, args.into) for folder in args.folders}
        Output.of(args).result({"into": str(args.into), "rows": counts}, f"{sum(counts.values())} rows: {args.into}")

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
