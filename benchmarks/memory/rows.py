"""Files of ``sfvgen-plan bench memory``: a line for each (row, episode), on disk when the episode is done.

Beside ``<name>.csv`` lies ``<name>.json``, which says what each row was made with: episodes of another checkpoint, or
measured otherwise, are never mixed in. Lines are only added; of two of the same episode the last counts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic

REVISIT, RETURN, CUE, VIDEO, DRIFT = (f"memory_{part}" for part in ("revisit", "return", "cue", "video", "drift"))
_PLAYED = ("row", "episode", "distance_m", "success_5cm")
COLUMNS: dict[str, tuple[str, ...]] = {
    REVISIT: ("row", "episode", "psnr_revisit_db", "cosine_revisit", "scene_cuts"),
    DRIFT: ("row", "episode", "psnr_db", "psnr_seen_db", "psnr_begin_db", "copy_psnr_db", "hand_error_cm"),
    RETURN: _PLAYED,
    CUE: _PLAYED,
    VIDEO: (
        "row", "episode", "revisits", "ssim_revisit", "lpips_revisit", "src", "copy_psnr_db", "self_psnr_db",
        "true_scene_cuts", "hand_error_cm", "object_error_cm",
    ),
}  # fmt: skip
"""Of each file; an empty cell is a metric that could not be had."""

_DIGITS = 5


class MemoryRows:
    """The rows of one file, ``name`` being one of ``COLUMNS``.

    Raises:
        UserError: what is there is something else.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.path, self.columns = folder, folder / f"{name}.csv", COLUMNS[name]
        self._settings_file = folder / f"{name}.json"
        self._settings: dict[str, dict[str, Any]] = {}
        self.rows: dict[tuple[str, int], dict[str, float | None]] = {}
        try:
            if self._settings_file.exists():
                self._settings = json.loads(self._settings_file.read_text())
            self._read()
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"out={str(self.path)!r} can't be used ({error}); choose another folder") from error

    def claim(self, row: str, settings: Mapping[str, Any]) -> None:
        """Say what the coming episodes of ``row`` are made with.

        Raises:
            UserError: there are episodes of it that were made with something else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        there = self.settings(row)
        # What could not be measured at first may be added later.
        other = [key for key in settings if there.get(key) not in (None, settings[key])]
        if other and any(name == row for name, _ in self.rows):
            found, asked = (", ".join(f"{key}={what[key]}" for key in other) for what in (there, settings))
            raise UserError(
                f"out={str(self.path)!r} has row {row!r} with {found}, but {asked} was asked for; "
                "choose another folder or delete those rows"
            )
        self._settings[row] = dict(settings)
        with atomic(self._settings_file, "out") as staged:
            staged.write_text(json.dumps(self._settings, indent=1, sort_keys=True) + "\n")

    def missing(self, row: str, episodes: Sequence[int], needed: Sequence[str] = ()) -> list[int]:
        """Those of ``episodes`` that have no row yet, or one whose cell in a column of ``needed`` is empty."""
        there = [self.rows.get((row, episode)) for episode in episodes]
        return [n for n, own in zip(episodes, there, strict=True) if own is None or None in map(own.get, needed)]

    def add(self, row: str, episode: int, values: Mapping[str, float | int | bool | None]) -> None:
        """Store an episode, in place of an earlier one of the same key."""
        found = {column: values[column] for column in self.columns[2:]}
        kept = {column: None if value is None else round(float(value), _DIGITS) for column, value in found.items()}
        self.rows[row, episode] = kept
        cells = ("" if value is None else f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") for value in kept.values())
        header = "" if self.path.exists() else ",".join(self.columns) + "\n"
        with self.path.open("a") as file:
            file.write(header + ",".join([row, str(episode), *cells]) + "\n")

    def values(self, row: str, column: str) -> dict[int, float]:
        """Episode -> value, of the episodes that have one."""
        found = {episode: values[column] for (name, episode), values in self.rows.items() if name == row}
        return {episode: value for episode, value in sorted(found.items()) if value is not None}

    def settings(self, row: str) -> Mapping[str, Any]:
        """What ``row`` was made with; empty if there is nothing of it."""
        return self._settings.get(row, {})

    def _read(self) -> None:
        if not self.path.exists():
            return
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a kill has torn the last line
            self.path.write_text(whole)
        reader = csv.DictReader(whole.splitlines())
        if tuple(reader.fieldnames or ()) != self.columns:
            raise ValueError(f"its columns are {','.join(reader.fieldnames or ())}")
        for line in reader:
            values = {column: float(line[column]) if line[column] else None for column in self.columns[2:]}
            self.rows[line["row"], int(line["episode"])] = values
