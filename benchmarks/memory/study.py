"""A memory study: all episodes that a folder lacks are measured, and all that it has are reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group

from sfvgen_plan.benchmarks.memory import tables
from sfvgen_plan.benchmarks.memory.bench import ReturnBench, RevisitBench
from sfvgen_plan.console import Output, table


def study(
    out: Output,
    revisit: RevisitBench | None,
    returned: ReturnBench | None,
    rows: Sequence[str],
    episodes: range,
    videos: int = 0,
) -> None:
    """Measure what is missing and show the tables, also of what there is when it ends early.

    Args:
        out: where progress and result are shown.
        revisit, returned: the parts to measure, both of one folder.
        rows: of the ablation.
        episodes: seeds, the same for every row.
        videos: how many of the episodes are filmed.

    Raises:
        UserError: a folder with rows that were made otherwise.
    """
    benches = [bench for bench in (revisit, returned) if bench is not None]
    for bench in benches:
        bench.claim(rows)
    films: list[Path] = []
    missing = sum(len(bench.missing(row, episodes)) for bench in benches for row in rows)
    total = len(benches) * len(rows) * len(episodes)
    if missing < total:
        out.note(f"{total - missing} of {total} episodes are there already")
    try:
        with out.progress("episodes", total=missing) as bar:

            def on_episode(row: str, episode: int) -> None:
                bar.describe(f"{row} seed {episode}")
                bar.advance()

            for bench in benches:
                bench.measure(rows, episodes, on_episode)
        films = revisit.film(episodes[:videos]) if revisit is not None else []
    finally:
        for bench in benches:
            bench.close()
        report(out, revisit, returned)
    for path in films:
        out.note(f"video: {path}")
    if films and revisit is not None and revisit.without is revisit.checkpoint:
        out.note("one checkpoint imagined with and without memory; --without DIR gives the latter one of its own")


def report(out: Output, revisit: RevisitBench | None, returned: ReturnBench | None) -> None:
    """The tables, what memory brings, and what was left out."""
    measured = [bench for bench in (revisit, returned) if bench is not None and bench.rows.rows]
    if not measured:
        return
    folder, parts = measured[0].folder, [bench.rows.name for bench in measured]
    features = revisit.features if revisit is not None else tables.no_features
    shown = [table(*made) for made in tables.tables(folder, features, parts)]
    data = tables.data(folder, features, parts)
    left_out = dict(revisit.toolbox.left_out) if revisit is not None else {}
    out.result({**data, "left_out": left_out}, Group(*shown, *data["comparisons"]))
    for name, reason in left_out.items():
        out.note(f"left out: {name}: {reason}")
    out.note(f"rows: {folder}")
