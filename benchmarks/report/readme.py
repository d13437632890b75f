"""Results on pages of the project, derived from the committed rows.

``python -m sfvgen_plan.benchmarks.report.readme README.md docs/results.md`` rewrites what stands between
``<!-- headlines:begin -->`` and ``<!-- headlines:end -->``, a few figures, and between ``<!-- results:begin -->`` and
``<!-- results:end -->``, all tables; with ``--check`` it only says whether that is up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.registry import table_order
from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.fidelity import open_loop
from sfvgen_plan.benchmarks.fidelity.report import fidelity_sections
from sfvgen_plan.benchmarks.memory.tables import memory_sections
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.report.headlines import headlines
from sfvgen_plan.benchmarks.report.markdown import markdown, percentage, readable, span
from sfvgen_plan.benchmarks.report.standings import task_order
from sfvgen_plan.benchmarks.results.files import read_rows, write_text
from sfvgen_plan.benchmarks.results.reading import holds_episodes
from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules, settled
from sfvgen_plan.benchmarks.results.summary import Summary, grouped
from sfvgen_plan.benchmarks.speed.measurements import MEASUREMENTS, SpeedRow
from sfvgen_plan.benchmarks.statistics import Estimate, mean, paired_difference
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError

PAGES = (Path("README.md"), Path("docs/results.md"))

PAIRS = (("default", "prior"),)
"""Agents whose difference is reported: with planning, and without."""

SHORT_LIMIT = 200
"""Raw steps of an episode of Metaworld in TD-MPC2's and iVideoGPT's runs; Metaworld's own limit is 500."""

Columns = Mapping[str, Callable[[Any], str]]
"""Heading -> the cell of a line."""


def results_block(folder: Path) -> str:
    """Markdown of everything that has rows in a results folder.

    Raises:
        UserError: a file that can't be read.
    """
    sections: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        if holds_episodes(path):
            sections += protocol_sections(path.stem, settled(read_rows(path, EpisodeRow)))
    sections += [returns_section(read_rows(path, EpisodeRow)) for path in sorted((folder / "own").glob("*.csv"))]
    if rollouts := read_rows(folder / "open_loop.csv", open_loop.OpenLoopRow):
        sections.append(open_loop_section(rollouts))
    sections += fidelity_sections(folder / "fidelity")
    sections += memory_sections(folder)
    if speeds := read_rows(folder / "speed.csv", SpeedRow):
        sections.append(speed_section(speeds))
    return "\n\n".join(sections) if sections else "No results are committed yet."


def table(title: str, columns: Columns, items: Sequence[Any]) -> str:
    """A section: its title, and a table with a line for each item."""
    return f"{title}\n\n" + markdown(tuple(columns), [[cell(item) for cell in columns.values()] for item in items])


def protocol_sections(protocol: str, rows: Sequence[EpisodeRow]) -> list[str]:
    """Agents, agents by task, and paired differences under one protocol."""
    strangers = sorted({row.protocol for row in rows} - {protocol})
    if strangers:
        raise UserError(f"results={protocol + '.csv'!r} holds rows of protocol {strangers[0]!r}; keep those apart")
    if not rows:
        return []
    check_same_rules(rows, f"results={protocol + '.csv'!r}")
    found = [Summary(own) for own in grouped(rows, lambda row: row.agent).values()]
    agents = {summary.agent: summary for summary in sorted(found, key=_agent_rank)}
    tasks = task_order(protocol, rows)
    sections = [_agents_section(protocol, list(agents.values()), tasks), _matrix_section(agents, tasks)]
    pairs = [
        (rows, agents[second])
        for first, second in PAIRS
        for name, rows in agents.items()
        if name.partition("+")[0] == first and second in agents
    ]
    return sections + ([_differences_section(pairs)] if pairs else [])


def returns_section(rows: Sequence[EpisodeRow]) -> str:
    """What agents earned in an environment whose rewards say how well it went, rather than whether it was solved."""
    columns: Columns = {
        "agent": lambda own: f"`{own.agent}`",
        "episodes": lambda own: str(own.episodes),
        "return [95 % interval]": lambda own: span(mean([row.return_ for row in own.rows]), 0),
        "seconds per plan": lambda own: f"{own.plan_seconds:.3f}",
        "device": lambda own: ", ".join(device for device in own.by_device if device),
    }
    found = [Summary(own) for own in grouped(rows, lambda row: row.agent).values()]
    return table(f"**Own environment `{rows[0].task}`**", columns, found)


def _agent_rank(summary: Summary) -> tuple[int, str]:
    order = table_order()
    return order.index(summary.agent) if summary.agent in order else len(order), summary.agent


def _agents_section(protocol: str, agents: Sequence[Summary], tasks: Sequence[str]) -> str:
    def name(own: Summary) -> str:
        part = f" ({len(own.by_task)} of {len(tasks)} tasks)" if len(own.by_task) < len(tasks) else ""
        return f"`{own.agent}`{part}"

    columns: Columns = {
        "agent": name,
        "episodes": lambda own: str(own.episodes),
        "success %, any-time": lambda own: percentage(own.success_any),
        **_shorter(protocol),
        "success %, final": lambda own: percentage(own.success_final),
        "return": lambda own: f"{own.return_:.0f}",
        "seconds per plan": lambda own: f"{own.plan_seconds:.3f}",
        "device": lambda own: ", ".join(device for device in own.by_device if device),
        "denoiser calls per plan": lambda own: f"{own.denoiser_calls:.1f}",
        "imagined decisions per plan": lambda own: f"{own.imagined_decisions:.0f}",
        "errors": lambda own: str(own.errors),
    }
    found = sorted({row.checkpoint for own in agents for row in own.rows if row.checkpoint})
    made = f"checkpoint {', '.join(found)}; " if found else ""
    title = f"**Success under protocol `{protocol}`**"
    return table(
        f"{title} ({made}95 % Wilson intervals; an episode that broke off counts as a failure)", columns, agents
    )


def _shorter(protocol: str) -> Columns:
    """A column of what was solved within the limit that TD-MPC2's runs have, where the protocol's own is longer."""
    rules = load_protocol(protocol)
    limit = SHORT_LIMIT // rules.repeat
    if not protocol.startswith("metaworld") or rules.max_decisions <= limit:
        return {}
    return {f"within {SHORT_LIMIT} raw steps": lambda own: percentage(own.success_within(limit))}


def _matrix_section(agents: Mapping[str, Summary], tasks: Sequence[str]) -> str:
    def cell(own: Summary) -> Callable[[str], str]:
        return lambda task: f"{100 * own.by_task[task].success_any.mean:.0f}" if task in own.by_task else ""

    columns: Columns = {"task": str, **{f"`{agent}`": cell(own) for agent, own in agents.items()}}
    played = [task for task in tasks if any(task in own.by_task for own in agents.values())]
    return table("**Any-time success % by task**", columns, played)


def _differences_section(pairs: Sequence[tuple[Summary, Summary]]) -> str:
    lines = [(first, second, paired_difference(_any_time(first), _any_time(second))) for first, second in pairs]
    columns: Columns = {
        "agents": lambda line: f"`{line[0].agent}` minus `{line[1].agent}`",
        "pairs": lambda line: str(line[2].count),
        "difference": lambda line: _points(line[2]),
    }
    return table(
        "**What planning adds** (points of any-time success, paired over seeds, 95 % bootstrap interval)",
        columns,
        lines,
    )


def _any_time(own: Summary) -> dict[tuple[str, Hashable], float]:
    return {(row.task, row.seed): float(row.success_any) for row in own.rows}


def _points(estimate: Estimate) -> str:
    middle, low, high = (
        f"{100 * value:+.0f}".replace("-0", "+0") for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{middle} [{low}, {high}]"


def open_loop_section(rows: Sequence[open_loop.OpenLoopRow]) -> str:
    """Open-loop rollouts at their last decision, means over tasks."""
    title, header, lines = open_loop.lines(open_loop.summarise(rows))
    tasks = {row.task for row in rows}
    return f"**{title}**, {len(tasks)} tasks of {family_of(min(tasks)).title}\n\n" + markdown(header, lines)


def speed_section(rows: Sequence[SpeedRow]) -> str:
    """Measured speeds with their devices, of what is still measured."""
    columns: Columns = {
        "what": lambda row: row.name,
        "value": lambda row: f"{readable(float(row.value))} {row.unit}",
        "device": lambda row: row.device,
    }
    measured = [row for row in rows if row.name in MEASUREMENTS]
    return table("**Speed** (`python -m sfvgen_plan.benchmarks.speed`)", columns, measured)


BLOCKS: dict[str, Callable[[Path], str]] = {"headlines": headlines, "results": results_block}
"""What may stand on a page: name of its marks -> the text, from a folder of rows."""


def with_results(page: str, folder: Path) -> str:
    """The page's text with what belongs between its marks.

    Raises:
        UserError: it has no marks, or rows can't be read.
    """
    marks = {name: (f"<!-- {name}:begin -->", f"<!-- {name}:end -->") for name in BLOCKS}
    named = [name for name, (begin, end) in marks.items() if begin in page and end in page.partition(begin)[2]]
    if not named:
        raise UserError(f"page has no lines {' and '.join(marks['results'])}; put them where the results belong")
    for name in named:
        begin, end = marks[name]
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n{BLOCKS[name](folder)}\n{end}{rest.partition(end)[2]}"
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 with ``--check`` when a page is out of date, 2 for bad input."""
    program = "python -m sfvgen_plan.benchmarks.report.readme"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, default=PAGES, help="to rewrite (default: those of a checkout)")
    parser.add_argument("--rows", type=Path, default=Path("benchmarks/rows"), help="folder (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is out of date")
    args = parser.parse_args(arguments)
    stale: list[Path] = []

    def run() -> None:
        for name, there in (("rows", args.rows.is_dir()), *(("page", page.is_file()) for page in args.pages)):
            if not there:
                raise UserError(f"{name} is not there: give committed rows ({args.rows}) and pages ({args.pages[0]})")
        for page in args.pages:
            before = page.read_text()
            after = with_results(before, args.rows)
            if args.check and before != after:
                stale.append(page)
                sys.stderr.write(f"{page} is out of date: run {program} {page} --rows {args.rows}\n")
            elif before != after:
                write_text(page, after)

    return exit_code(run) or int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
