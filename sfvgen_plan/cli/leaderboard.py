"""``sfvgen-plan leaderboard``: who stands where, from the rows of any number of runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.arguments import positive_int
from sfvgen_plan.errors import UserError

HELP = "rank agents by their stored episodes: table, Markdown, HTML report"

DEFAULT_SOURCES = ("benchmarks/rows", "runs")
"""Where rows are looked for, in this order."""


def add_arguments(parser: ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--store",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"stores, run folders, CSVs, or folders of those (default: {' or '.join(DEFAULT_SOURCES)})",
    )
    parser.add_argument("--protocol", metavar="ID", help="only this protocol (default: each has a table of its own)")
    parser.add_argument("--top", type=positive_int, metavar="N", help="show the first N agents of each protocol")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the tables as Markdown")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="write a report that needs no network")


def run(args: Namespace) -> int:
    """Show the rankings of all protocols, or of the one asked for, and write what was asked for."""
    from sfvgen_plan.benchmarks.report.page import TOP, report
    from sfvgen_plan.benchmarks.report.standings import boards
    from sfvgen_plan.benchmarks.report.tables import page, terminal
    from sfvgen_plan.benchmarks.results.files import write_text
    from sfvgen_plan.benchmarks.results.provenance import now
    from sfvgen_plan.benchmarks.results.reading import read_settled
    from sfvgen_plan.console import Output

    out = Output.of(args)
    there = [Path(name) for name in DEFAULT_SOURCES if Path(name).is_dir() and any(Path(name).iterdir())]
    sources = args.store or there[:1]
    if not sources:
        raise UserError(f"there are no rows in {' or '.join(DEFAULT_SOURCES)}; name a store or a run with --store")
    every = boards(read_settled(sources), args.protocol)
    found = [board.top(args.top) for board in every]
    if args.markdown:
        write_text(args.markdown, page(found), "markdown")
    if args.html:
        shown = [board.top(args.top or TOP) for board in every]
        write_text(args.html, report(shown, f"Rows as of {now()}."), "html")
    out.result({"boards": [board.to_dict() for board in every]}, terminal(found))
    for path in filter(None, (args.markdown, args.html)):
        out.note(f"written: {path}")
    return 0
