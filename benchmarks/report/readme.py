"""Results on pages of the project, derived from the committed rows.

``python -m sfvgen_plan.benchmarks.report.readme README.md docs/results.md`` rewrites what stands between
``<!-- headlines:begin -->`` and ``<!-- headlines:end -->``, a few figures, and between ``<!-- results:begin -->`` and
``<!-- results:end -->``, all tables; with ``--check`` it only says whether that is up to date.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sfvgen_plan.agents.registry import table_order
from sfvgen_plan.arguments import exit_code
from sfvgen_plan.benchmarks.fidelity import open_loop
from sfvgen_plan.benchmarks.fidelity.compare import rows_in
from sfvgen_plan.benchmarks.fidelity.report import summarise
from sfvgen_plan.benchmarks.memory.parts import PARTS
from sfvgen_plan.benchmarks.memory.tables import comparisons, estimates, tables
from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.report.markdown import rendered
from sfvgen_plan.benchmarks.report.standings import task_order
from sfvgen_plan.benchmarks.results.files import read_rows, write_text
from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules, settled
from sfvgen_plan.benchmarks.results.store import holds_episodes
from sfvgen_plan.benchmarks.results.summary import Summary, grouped
from sfvgen_plan.benchmarks.speed.measurements import MEASUREMENTS, SpeedRow
from sfvgen_plan.benchmarks.statistics import mean, paired_difference
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.errors import UserError

PAGES = (Path("README.md"), Path("docs/results.md"))
PAIRS = (("default", "prior"), ("improved", "improved-prior"))  # whose difference is told: with planning, and without
HEADLINES = ("default", "prior", "random")  # agents that are named at the beginning, whatever their settings

SHORT_LIMIT = 200
"""Raw steps of an episode of Metaworld in TD-MPC2's and iVideoGPT's runs; Metaworld's own limit is 500."""


def facts(folder: Path) -> dict[str, Any]:
    """What a results folder has rows of, for the templates. Raises UserError: a file that can't be read."""
    found = [
        _protocol(path.stem, settled(read_rows(path, EpisodeRow)))
        for path in sorted(folder.glob("*.csv"))
        if holds_episodes(path)
    ]
    fidelity = list(rows_in(folder / "fidelity"))
    return {
        "boards": [board for board in found if board],
        "own": [_returns(read_rows(path, EpisodeRow)) for path in sorted((folder / "own").glob("*.csv"))],
        "rollouts": _rollouts(read_rows(folder / "open_loop.csv", open_loop.OpenLoopRow)),
        "fidelity": summarise(fidelity) if fidelity else None,
        "memory": tables(folder),
        "remembered": {part: list(estimates(folder, part)) for part in PARTS},
        "comparisons": comparisons(folder),
        "speeds": [row for row in read_rows(folder / "speed.csv", SpeedRow) if row.name in MEASUREMENTS],
    }


def block(name: str, folder: Path) -> str:
    """Markdown that stands between marks of this name, one of ``BLOCKS``. Raises UserError: an unreadable file."""
    lines = [line.rstrip() for line in rendered(f"report/{name}.md.jinja", **facts(folder)).split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return text if text.count("\n") > 1 else "No results are committed yet."


def _protocol(protocol: str, rows: Sequence[EpisodeRow]) -> dict[str, Any] | None:
    """Agents, their tasks, and paired differences under one protocol."""
    where = f"results={protocol + '.csv'!r}"
    if strangers := sorted({row.protocol for row in rows} - {protocol}):
        raise UserError(f"{where} holds rows of protocol {strangers[0]!r}; keep those apart")
    if not rows:
        return None
    check_same_rules(rows, where)
    found = [Summary(own) for own in grouped(rows, lambda row: row.agent).values()]
    rank = {name: place for place, name in enumerate(table_order())}
    ranked = sorted(found, key=lambda own: (rank.get(own.agent, len(rank)), own.agent))
    agents = {summary.agent: summary for summary in ranked}
    played = {row.task for row in rows}
    rules, pairs = load_protocol(protocol), [pair for pair in PAIRS if pair[1] in agents]
    limit = SHORT_LIMIT // rules.repeat
    return {
        "protocol": protocol,
        "checkpoints": sorted({row.checkpoint for row in rows if row.checkpoint}),
        "agents": list(agents.values()),
        "named": [own for base in HEADLINES for own in found if own.agent.partition("+")[0] == base],
        "tasks": task_order(protocol, rows),
        "played": [task for task in task_order(protocol, rows) if task in played],
        "short": limit if protocol.startswith("metaworld") and rules.max_decisions > limit else None,
        "losses": _losses(agents),
        "pairs": [
            (name, second, paired_difference(own.any_time, agents[second].any_time))
            for first, second in pairs
            for name, own in agents.items()
            if name.partition("+")[0] == first
        ],
    }


def _losses(agents: Mapping[str, Summary]) -> list[tuple[str, list[float]]]:
    """Of the tasks that ``reader`` has played: points of any-time success that the script, reading and the policy lose,
    those first of which the prior solves least."""
    if not {"prior", "reader", "expert"} <= agents.keys():
        return []
    prior, reader, expert = (agents[name].by_task for name in ("prior", "reader", "expert"))
    shared = sorted(reader.keys() & prior.keys() & expert.keys())
    tasks = sorted(shared, key=lambda task: prior[task].success_any.mean)
    solved = {task: [100.0, *(100 * who[task].success_any.mean for who in (expert, reader, prior))] for task in tasks}
    return [(task, [more - less for more, less in pairwise(found)]) for task, found in solved.items()]


def _returns(rows: Sequence[EpisodeRow]) -> dict[str, Any]:
    """What agents earned in an environment whose rewards say how well it went, rather than whether it was solved."""
    found = [Summary(own) for own in grouped(rows, lambda row: row.agent).values()]
    earned = {own.agent: mean([row.return_ for row in own.rows]) for own in found}
    return {"task": rows[0].task, "agents": found, "earned": earned}


def _rollouts(rows: Sequence[open_loop.OpenLoopRow]) -> dict[str, Any] | None:
    """Open-loop rollouts at their last decision, means over tasks."""
    if not rows:
        return None
    end = open_loop.summarise(rows)
    title, header, lines = open_loop.lines(end)
    tasks = {row.task for row in rows}
    simulator = family_of(min(tasks)).title
    about = {"title": title, "header": header, "lines": lines}
    return {**about, "end": end, "tasks": len(tasks), "simulator": simulator}


BLOCKS = ("headlines", "results")  # what may stand on a page: names of marks, and of templates


def with_results(page: str, folder: Path) -> str:
    """The page's text with what belongs between its marks. Raises UserError: it has no marks, or rows can't be read."""
    marks = {name: (f"<!-- {name}:begin -->", f"<!-- {name}:end -->") for name in BLOCKS}
    named = [name for name, (begin, end) in marks.items() if begin in page and end in page.partition(begin)[2]]
    if not named:
        raise UserError(f"page has no lines {' and '.join(marks['results'])}; put them where the results belong")
    for name in named:
        begin, end = marks[name]
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n{block(name, folder)}\n{end}{rest.partition(end)[2]}"
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
