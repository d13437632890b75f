"""``python -m sfvgen_plan.benchmarks.results merge RUN... --into PROTOCOL.csv``: rows of finished runs (folders, stores
or files) into a committed file."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.protocols import protocol_names
from sfvgen_plan.benchmarks.results.files import read_rows, write_rows
from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules
from sfvgen_plan.benchmarks.results.store import read
from sfvgen_plan.errors import UserError


def merge(sources: Iterable[Path], into: Path) -> list[EpisodeRow]:
    """Add the rows of ``sources``, oldest first, to the CSV file ``into``, and return all that it holds now.

    Episodes are told apart by protocol, task, agent and seed, and the newest counts: committed rows show one checkpoint
    for each agent. Raises UserError: rows of a protocol other than the one that ``into`` is named for, of several, or
    of other rules.
    """
    rows = read_rows(into, EpisodeRow) + read(sources)
    wanted = into.stem if into.stem in protocol_names() else rows[0].protocol if rows else ""
    for row in rows:
        if row.protocol != wanted:
            raise UserError(
                f"into={str(into)!r} is for protocol {wanted!r}, but a row is of {row.protocol!r}; merge those apart"
            )
    merged = {row.key[:4]: row for row in rows}
    ordered = [merged[key] for key in sorted(merged)]
    check_same_rules(ordered, f"into={str(into)!r}")
    write_rows(into, ordered, EpisodeRow)
    return ordered


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sfvgen_plan.benchmarks.results", description="Keep results.")
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="<verb>")
    merging = verbs.add_parser("merge", help="add rows of runs to a committed CSV; the newest of an episode wins")
    merging.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders, stores, files; oldest first")
    merging.add_argument("--into", required=True, type=Path, metavar="PROTOCOL.csv")
    args = parser.parse_args(arguments)
    return exit_code(lambda: sys.stdout.write(f"{args.into}: {len(merge(args.runs, args.into))} episodes\n"))


if __name__ == "__main__":
    sys.exit(main())
