"""Files of rows: CSV, a dataclass to a line, and rows of one kind of which the newest of a key counts."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic
from sfvgen_plan.run_note import check_same

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def write_text(path: Path, text: str, argument: str = "file") -> None:
    """Replace the file, which the user knows as ``argument``, in one step. Raises UserError: it can't be written."""
    with atomic(path, argument) as staged:
        staged.write_text(text, encoding="utf-8")


def columns_of(kind: type[Row]) -> tuple[str, ...]:
    """Its fields; what is a word of Python has an underscore behind it there."""
    return tuple(item.name.rstrip("_") for item in fields(kind))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Rows of a CSV file in file order; none if it is missing. An empty cell stands for its field's default. Raises
    UserError: a line of it is something else."""
    from pydantic import TypeAdapter, ValidationError

    if not path.exists():
        return []
    try:
        records = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"rows={str(path)!r} can't be read ({why}); give a CSV of rows") from None
    told = [{name: cell for name, cell in record.items() if cell != ""} for record in records]
    try:
        return TypeAdapter(list[kind]).validate_python(told)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        line, column = int(first["loc"][0]), "".join(map(str, first["loc"][1:2]))
        given = f"{column}={records[line].get(column)!r}: "[:80] if column else ""
        raise UserError(
            f"rows={str(path)!r} line {line + 2} is no {kind.__name__} ({given}{first['msg']}); give a file of those"
        ) from None


def write_rows(path: Path, rows: Sequence[Row], kind: type[Row]) -> None:
    """Replace a CSV file by these rows in one step. ``kind`` may have ``FORMATS`` of its numbers. Raises UserError: it
    can't be written."""
    formats: Mapping[str, str] = getattr(kind, "FORMATS", {})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns_of(kind))
    for row in rows:
        values = ((item.name, getattr(row, item.name)) for item in fields(kind))
        writer.writerow([_cell(value, formats.get(name, ".7g")) for name, value in values])
    write_text(path, text.getvalue(), "out")


def _cell(value: Any, form: str) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else format(value, form) if isinstance(value, float) else value


class Rows(Generic[Row]):
    """Rows of one kind, a dataclass of plain values, in a CSV file, in their order; those on disk are read at once.
    ``key``: columns that tell rows apart; the first of them is a row's name. Raises UserError: the file holds something
    else.

    A file of the same name that ends in .json says what the rows of each name were made with, where that was claimed:
    rows of another checkpoint, or measured otherwise, are never mixed in.
    """

    def __init__(self, path: Path, kind: type[Row], key: Sequence[str]) -> None:
        self.path, self._kind, self._key = path, kind, tuple(key)
        self._rows = {self._of(row): row for row in read_rows(path, kind)}
        self._note = path.with_suffix(".json")
        self._made_with: dict[str, Any] = json.loads(self._note.read_text()) if self._note.exists() else {}

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
        write_rows(self.path, list(self), self._kind)

    def claim(self, name: str, made_with: Mapping[str, Any]) -> None:
        """Say what the coming rows of ``name``, or all if it is empty, are made with, as JSON values. Raises UserError:
        there are rows of it that were made with something else."""
        if any(name in ("", self._of(row)[0]) for row in self):
            of = f"rows {name!r}" if name else "rows"
            check_same(f"out={str(self.path)!r} has {of}", self.made_with(name), made_with)
        self._made_with[name] = dict(made_with)
        write_text(self._note, json.dumps(self._made_with, indent=1, sort_keys=True) + "\n", "out")

    def made_with(self, name: str) -> Mapping[str, Any]:
        """What was claimed for ``name``; empty if nothing was."""
        return self._made_with.get(name, {})

    def _of(self, row: Row) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self._key)
