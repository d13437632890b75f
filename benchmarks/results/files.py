"""Files of rows: CSV text, and rows of one kind, of which the newest of a key counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sfvgen_plan.errors import UserError, reason
from sfvgen_plan.io import atomic
from sfvgen_plan.nested import check_same

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def write_text(path: Path, text: str, argument: str = "file") -> None:
    """Replace the file, which the user knows as ``argument``, in one step; its folder is made.

    Raises:
        UserError: it can't be written.
    """
    with atomic(path, argument) as staged:
        staged.write_text(text, encoding="utf-8")


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of values as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def read_records(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file by their columns; none if it is missing."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Rows(Generic[Row]):
    """Rows of one kind in a CSV file, in their order; those on disk are read at once.

    A file of the same name that ends in .json says what the rows of each name were made with, where that was claimed:
    rows of another checkpoint, or measured otherwise, are never mixed in.

    Args:
        path: the CSV file, which may be missing.
        kind: dataclass of plain values; its fields are the columns, and an empty cell stands for its field's default.
        key: columns that tell rows apart; the first of them is a row's name.

    Raises:
        UserError: the file holds something else.
    """

    def __init__(self, path: Path, kind: type[Row], key: Sequence[str]) -> None:
        from pydantic import TypeAdapter, ValidationError

        self.path, self._key, self.columns = path, tuple(key), tuple(item.name for item in fields(kind))
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            records = list(csv.DictReader(io.StringIO(text)))
            if records and tuple(records[0]) != self.columns:
                raise ValueError(f"its columns are {','.join(map(str, records[0]))}")
            told = [{name: cell for name, cell in record.items() if cell != ""} for record in records]
            found = TypeAdapter(list[kind]).validate_python(told)  # type: ignore[valid-type]
            file = path.with_suffix(".json")
            self._made_with: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        except (OSError, ValueError, ValidationError) as error:
            raise UserError(f"out={str(path)!r} holds other rows ({reason(error)}); give another place") from None
        self._rows: dict[tuple[Any, ...], Row] = {self._of(row): row for row in found}

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, *key: Any) -> Row | None:
        """The row of that key, if there is one."""
        return self._rows.get(key)

    def add(self, *rows: Row) -> None:
        """Store rows, in place of those of the same keys; on disk when this returns."""
        self._rows |= {self._of(row): row for row in rows}
        lines = [[_cell(value) for value in astuple(row)] for row in self]
        write_text(self.path, csv_text([self.columns, *lines]), "out")

    def claim(self, name: str, made_with: Mapping[str, Any]) -> None:
        """Say what the coming rows of ``name``, or all if it is empty, are made with, as JSON values.

        Raises:
            UserError: there are rows of it that were made with something else.
        """
        if any(name in ("", self._of(row)[0]) for row in self):
            of = f"rows {name!r}" if name else "rows"
            check_same(f"out={str(self.path)!r} has {of}", self.made_with(name), made_with)
        self._made_with[name] = dict(made_with)
        text = json.dumps(self._made_with, indent=1, sort_keys=True) + "\n"
        write_text(self.path.with_suffix(".json"), text, "out")

    def made_with(self, name: str) -> Mapping[str, Any]:
        """What was claimed for ``name``; empty if nothing was."""
        return self._made_with.get(name, {})

    def _of(self, row: Row) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self._key)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else value
