"""``python -m sfvgen_plan.benchmarks.results``: rows of runs into one place, and out of a store.

``merge RUN... --into benchmarks/rows/metaworld-10.csv`` adds the rows of finished runs (folders, stores or files) to
committed ones, ``--into all.sqlite`` adds them to a store; ``export STORE FILE`` writes CSV, JSON or Parquet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.results.import_export import FORMATS, Results, export, merge_into_csv, merge_into_store
from sfvgen_plan.benchmarks.results.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.results", description="Keep results.")
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="<verb>")
    merging = verbs.add_parser("merge", help="add rows of runs to a committed CSV (the newest wins) or to a store")
    merging.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders, stores, files; oldest first")
    merging.add_argument("--into", required=True, type=Path, metavar="FILE", help="PROTOCOL.csv or a .sqlite store")
    exporting = verbs.add_parser("export", help="write the rows of a store to a CSV, JSON or Parquet file")
    exporting.add_argument("store", type=Path)
    exporting.add_argument("file", type=Path, help=f"ends in {', '.join(FORMATS)}")
    args = parser.parse_args(arguments)
    return exit_code(lambda: sys.stdout.write(_carry_out(args) + "\n"))


def _carry_out(args: argparse.Namespace) -> str:
    if args.verb == "merge" and args.into.suffix == ".csv":
        return f"{args.into}: {len(merge_into_csv(args.runs, args.into))} episodes"
    if args.verb == "merge":
        return merge_into_store(args.runs, args.into)
    with Store(args.store, writable=False) as store:
        results = Results(store.rows(), store.runs())
    export(results, args.file)
    return f"{args.file}: {len(results.rows)} episodes"


if __name__ == "__main__":
    sys.exit(main())
