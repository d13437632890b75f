"""Rows in and out of stores: CSV, JSON and Parquet files, other stores, run folders; the commands for them."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.protocols import known_rules_hash
from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeRow, merge, read_rows, write_rows
from sfvgen_plan.benchmarks.results.store import Run, Store, is_store
from sfvgen_plan.errors import UserError, install_command

logger = logging.getLogger(__name__)

STORE = "results.sqlite"
EXPORT = "episodes.csv"
"""Names in a run folder: the store, and the rows that count for programs that read CSV."""

THOROUGH_BYTES = 50_000_000
"""Size up to which a store is read through for damage before it is shown; above, only its structure is checked."""

KINDS: dict[str, type] = {
    **dict.fromkeys(COLUMNS, str),
    **dict.fromkeys(("success_any", "success_final"), bool),
    **dict.fromkeys(("seed", "decisions", "denoiser_calls", "imagined_decisions", "first_success"), int),
    **dict.fromkeys(("return", "plan_seconds"), float),
}
"""Type of each column where there are types."""

OPTIONAL = ("first_success",)

FORMATS = (".csv", ".json", ".parquet")
JSON_FORMAT = "sfvgen-plan results 1"


@dataclass(frozen=True)
class Imported:
    """What became of the rows of other files: ``added`` were new, ``known`` were there already, ``differing`` are
    those of the latter that say something else; the rows that were there first stay."""

    added: int
    known: int
    differing: int


def read_source(path: Path) -> list[EpisodeRow]:
    """All rows of a CSV, JSON or Parquet file, a store or a run folder, oldest first.

    Raises:
        UserError: nothing like that is there, or a row makes no sense.
    """
    return _attempts_and_runs(path)[0]


def bring_in(store: Store, sources: Sequence[Path]) -> Imported:
    """Add the rows of ``sources`` to ``store``, all or none of each source.

    Raises:
        UserError: as ``read_source``; sources before the one at fault have been added.
    """
    added = known = differing = 0
    for source in sources:
        rows, runs = _attempts_and_runs(source)
        new = store.extend(completed(rows), runs)
        added, known = added + new, known + len(rows) - new
        if new < len(rows):
            differing += _differing(store, completed(rows))
    return Imported(added, known, differing)


def completed(rows: Iterable[EpisodeRow]) -> list[EpisodeRow]:
    """Rows from before rows had a protocol hash get that of the package's protocol of the same name."""
    return [row if row.protocol_hash else replace(row, protocol_hash=known_rules_hash(row.protocol)) for row in rows]


def export(store: Store, path: Path) -> int:
    """Write the rows that count, to a CSV, JSON or Parquet file by its ending, in one step; how many.

    JSON holds the records of the runs, too.

    Raises:
        UserError: another ending, or Parquet without pyarrow.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"file={str(path)!r} should end in {', '.join(FORMATS)}")
    rows = store.rows()
    if path.suffix == ".csv":
        write_rows(path, rows)
        return len(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(path.name + ".tmp")
    if path.suffix == ".json":
        runs = [{"id": run.id, "checkpoint": run.checkpoint, **run.record} for run in store.runs()]
        document = {"format": JSON_FORMAT, "runs": runs, "rows": [_plain(row) for row in rows]}
        staged.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        _write_parquet(staged, rows)
    os.replace(staged, path)
    return len(rows)


def sources_in(path: Path) -> list[Path]:
    """What ``read_source`` takes: ``path`` itself, or where it is a folder that is no run folder, what lies in it.

    Raises:
        UserError: nothing is there.
    """
    if not path.is_dir() or _run_folder(path):
        return [path]
    inside = [item for item in sorted(path.iterdir()) if not item.name.startswith(".")]
    found = [item for item in inside if (item.is_dir() and _run_folder(item)) or (item.is_file() and _holds_rows(item))]
    if not found:
        raise UserError(f"store={str(path)!r} holds no rows; give a store, a run folder, or a folder of those")
    return found


def stores_of(paths: Sequence[Path]) -> list[Path]:
    """The store files of what ``combined`` takes, whether they are there or not; clips lie beside them."""
    sources = [source for path in paths for source in sources_in(path)]
    return [source / STORE if source.is_dir() else source for source in sources]


@contextmanager
def combined(paths: Sequence[Path]) -> Iterator[Store]:
    """A store to read the rows of all ``paths`` from: the only one of them, or a temporary one with everything. Where
    two of them tell different outcomes of an episode the first one counts, and a warning says so.

    Raises:
        UserError: something that can't be read.
    """
    sources = [source for path in paths for source in sources_in(path)]
    single = sources[0] / STORE if sources[0].is_dir() and (sources[0] / STORE).exists() else sources[0]
    if len(sources) == 1 and single.exists() and is_store(single):
        # Checking every row of a million takes longer than ranking them.
        with Store(single, writable=False, thorough=single.stat().st_size < THOROUGH_BYTES) as store:
            yield store
        return
    with TemporaryDirectory() as folder, Store(Path(folder) / STORE, create=True) as store:
        differing = bring_in(store, sources).differing
        if differing:
            logger.warning("%d episodes have another outcome in a later source; the first one counts", differing)
        yield store


def _run_folder(path: Path) -> list[Path]:
    return [path / name for name in (STORE, EXPORT) if (path / name).exists()]


def _holds_rows(path: Path) -> bool:
    if path.suffix == ".csv":
        with path.open(newline="", errors="replace") as file:
            return set(next(csv.reader(file), ())) >= {"protocol", "task", "agent", "seed", "success_any"}
    return path.suffix in (".sqlite", ".parquet")


def _attempts_and_runs(path: Path) -> tuple[list[EpisodeRow], list[Run]]:
    if path.is_dir():
        inside = _run_folder(path)
        if not inside:
            raise UserError(f"rows={str(path)!r} is no run folder; give one with results.sqlite or episodes.csv")
        path = inside[0]
    if not path.exists():
        raise UserError(f"rows={str(path)!r} doesn't exist; give a store, a run folder or a file of rows")
    if is_store(path):
        with Store(path, writable=False) as store:
            return store.attempts(), store.runs()
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix == ".parquet":
        return _read_parquet(path), []
    return read_rows(path), []


def _read_json(path: Path) -> tuple[list[EpisodeRow], list[Run]]:
    try:
        document = json.loads(path.read_text())
        if document["format"] != JSON_FORMAT:
            raise ValueError(f"format={document['format']!r}")
        records = document["runs"]
        runs = [Run(run.pop("id"), run["protocol"], run["agent"], run.pop("checkpoint"), run) for run in records]
        "".join(text for run in runs for text in (run.id, run.protocol, run.agent, run.checkpoint)).encode()
        return _rows_of(path, document["rows"]), runs
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"rows={str(path)!r} is no export of results ({error!r}); give one written by export") from None


def _read_parquet(path: Path) -> list[EpisodeRow]:
    parquet = _pyarrow_parquet()
    from pyarrow import ArrowException

    try:
        records = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"rows={str(path)!r} can't be read ({reason}); give one written by export") from None
    return _rows_of(path, records)


def _rows_of(path: Path, records: Sequence[dict[str, Any]]) -> list[EpisodeRow]:
    rows = []
    for number, record in enumerate(records, start=1):
        try:
            _check_types(record)
            rows.append(
                EpisodeRow(**{"return_" if name == "return" else name: record[name] for name in COLUMNS}).check()
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"rows={str(path)!r} row {number} is no episode row ({error!r})") from None
    return rows


def _check_types(record: Mapping[str, Any]) -> None:
    for name, kind in KINDS.items():
        value = record[name]
        fits = (
            isinstance(value, kind)
            or (kind is float and isinstance(value, int))
            or (value is None and name in OPTIONAL)
        )
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{name}={value!r}")


def _plain(row: EpisodeRow) -> dict[str, Any]:
    return {name: getattr(row, "return_" if name == "return" else name) for name in COLUMNS}


def _write_parquet(path: Path, rows: Sequence[EpisodeRow]) -> None:
    parquet = _pyarrow_parquet()
    import pyarrow

    types = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, types[KINDS[name]]) for name in COLUMNS])
    parquet.write_table(pyarrow.Table.from_pylist([_plain(row) for row in rows], schema), path)


def _pyarrow_parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"Parquet files need pyarrow: {install_command('parquet')}") from None
    return parquet


def _differing(store: Store, rows: Sequence[EpisodeRow]) -> int:
    """How many of ``rows`` tell another outcome of an episode than the row that counts; times may differ."""
    ours = {(row.key, row.protocol_hash): _outcome(row) for row in store.rows() if not row.error}
    return sum(not row.error and ours[(row.key, row.protocol_hash)] != _outcome(row) for row in rows)


def _outcome(row: EpisodeRow) -> tuple:
    # Four digits are what a CSV keeps of the return.
    return row.success_any, row.success_final, f"{row.return_:.4f}", row.decisions, row.first_success


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m sfvgen_plan.benchmarks.results``."""
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.results", description="Keep results.")
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="<verb>")
    merging = verbs.add_parser("merge", help="add rows of runs to a committed CSV (the newest wins) or to a store")
    merging.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders, stores, CSVs; oldest first")
    merging.add_argument("--into", required=True, type=Path, metavar="FILE", help="PROTOCOL.csv or a .sqlite store")
    exporting = verbs.add_parser("export", help="write the rows of a store to a CSV, JSON or Parquet file")
    exporting.add_argument("store", type=Path)
    exporting.add_argument("file", type=Path, help=f"ends in {', '.join(FORMATS)}")
    args = parser.parse_args(arguments)

    def run() -> None:
        try:
            sys.stdout.write(_carry_out(args) + "\n")
        except OSError as error:
            raise UserError(
                f"file={error.filename!r} can't be written ({error.strerror}); give another place"
            ) from error

    return exit_code(run)


def _carry_out(args: argparse.Namespace) -> str:
    if args.verb == "merge" and args.into.suffix == ".csv":
        return f"{args.into}: {len(merge(args.runs, args.into))} episodes"
    if args.verb == "merge":
        with Store(args.into, create=True) as store:
            counts = bring_in(store, args.runs)
            text = f"{args.into}: {store.count()} rows, {counts.added} of them new; {counts.known} were there already"
        warning = f", {counts.differing} of them with another outcome, which was left out" if counts.differing else ""
        return text + warning
    with Store(args.store, writable=False) as store:
        return f"{args.file}: {export(store, args.file)} episodes"
