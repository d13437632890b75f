"""Files of rows: CSV text, and measurements that replace earlier ones of the same key."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic

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


def read_measurements(path: Path, kind: type[Row]) -> list[Row]:
    """The rows, dataclasses of text, of a CSV file; none if it is missing.

    Raises:
        UserError: the file holds something else.
    """
    if not path.exists():
        return []
    columns = tuple(field.name for field in fields(kind))
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or columns) != columns:
            raise UserError(f"out={str(path)!r} holds no rows of {','.join(columns)}; give another file")
        return [kind(**line) for line in reader]


def merge_measurements(
    path: Path,
    kind: type[Row],
    key: Sequence[str],
    rows: Iterable[Row],
    stays: Callable[[Row], bool] = lambda row: True,
) -> None:
    """Put rows, dataclasses of text, into a CSV file, in place of those whose fields ``key`` are the same, and of those
    that shall not stay.

    Raises:
        UserError: the file holds something else, or can't be written.
    """
    columns = tuple(field.name for field in fields(kind))
    before = [row for row in read_measurements(path, kind) if stays(row)]
    kept = {tuple(getattr(row, name) for name in key): row for row in [*before, *rows]}
    write_text(path, csv_text([columns, *map(astuple, kept.values())]))
