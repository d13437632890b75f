"""``sfvgen-plan leaderboard``: who stands where, from the rows of any number of runs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from sfvgen_plan.errors import UserError

HELP = "rank agents by their stored episodes: table, HTML report"
DEFAULT_SOURCES = ("benchmarks/rows", "runs")  # where rows are looked for, in this order


def add_arguments(parser: ArgumentParser) -> None:
    text = f"stores, run folders, CSVs, or folders of those (default: {' or '.join(DEFAULT_SOURCES)})"
    parser.add_argument("--store", type=Path, nargs="+", metavar="PATH", help=text)
    parser.add_argument("--protocol", metavar="ID", help="only this protocol (default: each has a table of its own)")
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="write a report that needs no network")


def run(args: Namespace) -> int:
    """Show the rankings of all protocols, or of the one asked for, and write what was asked for."""
    from sfvgen_plan.benchmarks.report.standings import boards, report, terminal
    from sfvgen_plan.benchmarks.results.files import write_text
    from sfvgen_plan.benchmarks.results.row import settled
    from sfvgen_plan.benchmarks.results.store import now, read
    from sfvgen_plan.console import Output

    out = Output.of(args)
    there = [Path(name) for name in DEFAULT_SOURCES if Path(name).is_dir() and any(Path(name).iterdir())]
    sources = args.store or there[:1]
    if not sources:
        raise UserError(f"there are no rows in {' or '.join(DEFAULT_SOURCES)}; name a store or a run with --store")
    found = boards(settled(read(sources)), args.protocol)
    if args.html:
        write_text(args.html, report(found, f"Rows as of {now()}."), "html")
    out.result({"boards": [board.to_dict() for board in found]}, terminal(found))
    if args.html:
        out.note(f"written: {args.html}")
    return 0
