"""``python -m sfvgen_plan.benchmarks.results merge RUN... --into FILE``: rows of runs into one place.

``--into benchmarks/rows/metaworld-10.csv`` adds the rows of finished runs (folders, stores or files) to committed ones,
``--into all.sqlite`` adds them to a store.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.results.merging import merge_into_csv, merge_into_store


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.results", description="Keep results.")
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="<verb>")
    merging = verbs.add_parser("merge", help="add rows of runs to a committed CSV (the newest wins) or to a store")
    merging.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders, stores, files; oldest first")
    merging.add_argument("--into", required=True, type=Path, metavar="FILE", help="PROTOCOL.csv or a .sqlite store")
    args = parser.parse_args(arguments)

    def merge() -> None:
        if args.into.suffix == ".csv":
            text = f"{args.into}: {len(merge_into_csv(args.runs, args.into))} episodes"
        else:
            text = merge_into_store(args.runs, args.into)
        sys.stdout.write(text + "\n")

    return exit_code(merge)


if __name__ == "__main__":
    sys.exit(main())
