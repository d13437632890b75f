"""``sfvgen-plan leaderboard``: who stands where, from the rows of any number of runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from sfvgen_plan.arguments import positive_int
from sfvgen_plan.errors import UserError

if TYPE_CHECKING:
    from sfvgen_plan.benchmarks.results.import_export import Results
    from sfvgen_plan.console import Output

HELP = "rank agents by their stored episodes: table, Markdown, HTML report; check submissions"

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
    parser.add_argument("--check", type=Path, metavar="FILE.json", help="check a submission against its rows")
    parser.add_argument("--submit", metavar="AGENT", help="write a submission of this agent to --out; needs --protocol")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="the submission; its rows are written beside it")
    for name, meaning in (
        ("authors", "who"),
        ("url", "where to read more"),
        ("description", "training data and so on"),
    ):
        parser.add_argument(f"--{name}", default="", help=f"for the submission: {meaning}")


def run(args: Namespace) -> int:
    """Show the ranking, and write what was asked for."""
    from sfvgen_plan.benchmarks.results.import_export import read_settled
    from sfvgen_plan.console import Output

    out = Output.of(args)
    if args.check:
        check(out, args.check)
        return 0
    if args.submit and not (args.out and args.protocol):
        raise UserError(f"submit={args.submit!r} needs --protocol ID and --out FILE.json")
    if args.out and not args.submit:
        raise UserError(f"out={str(args.out)!r} is for submissions; add --submit AGENT, or use --markdown or --html")
    sources = args.store or [
        Path(name) for name in DEFAULT_SOURCES if Path(name).is_dir() and any(Path(name).iterdir())
    ]
    if not sources:
        raise UserError(f"there are no rows in {' or '.join(DEFAULT_SOURCES)}; name a store or a run with --store")
    sources = sources if args.store else sources[:1]
    results = read_settled(sources)
    if args.submit:
        submit(out, results, args)
    else:
        show(out, results, sources, args)
    return 0


def show(out: Output, results: Results, sources: list[Path], args: Namespace) -> None:
    """Rankings of all protocols, or of the one asked for."""
    from sfvgen_plan.benchmarks.report.clips import read_clips
    from sfvgen_plan.benchmarks.report.page import TOP, report
    from sfvgen_plan.benchmarks.report.standings import boards, ranked_rows
    from sfvgen_plan.benchmarks.report.tables import page, terminal
    from sfvgen_plan.benchmarks.results.import_export import files_of
    from sfvgen_plan.benchmarks.results.provenance import now
    from sfvgen_plan.io import atomic

    found = boards(results, args.protocol)
    if args.markdown:
        with atomic(args.markdown, "markdown") as staged:
            staged.write_text(page(found, args.top), encoding="utf-8")
    if args.html:
        with atomic(args.html, "html") as staged:
            text = report(
                found,
                args.top or TOP,
                f"Rows as of {now()}.",
                read_clips(files_of(sources)),
            )
            staged.write_text(text, encoding="utf-8")
    out.result({"boards": ranked_rows(found)}, terminal(found, args.top))
    for path in filter(None, (args.markdown, args.html)):
        out.note(f"written: {path}")


def submit(out: Output, results: Results, args: Namespace) -> None:
    """Write an entry that others can check."""
    from sfvgen_plan.benchmarks.protocols import load_protocol
    from sfvgen_plan.benchmarks.results.submissions import write_submission

    about = {name: getattr(args, name) for name in ("authors", "url", "description")}
    rows = write_submission(results.rows, args.submit, load_protocol(args.protocol), args.out, about)
    out.result({"submission": str(args.out), "rows": str(rows)}, f"{args.out} and {rows}")


def check(out: Output, path: Path) -> None:
    """Recompute a submission from its rows."""
    from sfvgen_plan.benchmarks.protocols import load_protocol
    from sfvgen_plan.benchmarks.report.tables import eval_table
    from sfvgen_plan.benchmarks.results.submissions import check_submission

    entry, rows = check_submission(path)
    table = eval_table(rows, load_protocol(entry.protocol).tasks)
    out.result({"valid": True, **entry.model_dump()}, table)
    out.note(f"{path}: {len(rows)} episodes bear out every figure")
