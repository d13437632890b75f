"""The README's results, derived from the committed rows.

``python -m sfvgen_plan.benchmarks.report.readme README.md benchmarks/results`` rewrites what stands between
``<!-- results:begin -->`` and ``<!-- results:end -->``; with ``--check`` it only says whether that is up to date.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from sfvgen_plan.agents.registry import table_order
from sfvgen_plan.benchmarks.fidelity import open_loop_rows
from sfvgen_plan.benchmarks.fidelity.section import fidelity_sections
from sfvgen_plan.benchmarks.memory.tables import memory_sections
from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.report.markdown import markdown
from sfvgen_plan.benchmarks.report.summary import OVERALL, grouped, per_task, percentage, summarise
from sfvgen_plan.benchmarks.results.row import EpisodeRow, check_same_rules, newest, read_rows
from sfvgen_plan.benchmarks.statistics import Estimate, paired_difference
from sfvgen_plan.errors import UserError

BEGIN = "<!-- results:begin -->"
END = "<!-- results:end -->"

PAIRS = (("default", "prior"), ("default10", "prior10"))
"""Agents whose difference is reported: with planning, and without."""

OPEN_LOOP = "open_loop.csv"
OPEN_LOOP_RLBENCH = "open_loop_rlbench.csv"
SPEED = "speed.csv"
FIDELITY = "fidelity"


def results_block(folder: Path) -> str:
    """Markdown of the episodes, rollouts and speeds in a results folder; other tables there are left alone.

    Raises:
        UserError: a file that can't be read.
    """
    sections: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        if _holds_episodes(path):
            sections += protocol_sections(path.stem, list(newest(read_rows(path))))
    sections += _section_of(folder / OPEN_LOOP, open_loop_section)
    sections += _section_of(folder / OPEN_LOOP_RLBENCH, open_loop_rlbench_section)
    sections += fidelity_sections(folder / FIDELITY)
    sections += memory_sections(folder)
    sections += _section_of(folder / SPEED, speed_section)
    return "\n\n".join(sections) if sections else "No results are committed yet."


def _holds_episodes(path: Path) -> bool:
    with path.open(newline="", errors="replace") as file:
        return set(next(csv.reader(file), ())) >= {"protocol", "task", "agent", "seed"}


def _section_of(path: Path, section: Callable[[list[dict[str, str]]], str]) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    try:
        return [section(records)] if records else []
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"results={str(path)!r} lacks a column or a number ({error!r}); write it again") from None


def protocol_sections(protocol: str, rows: Sequence[EpisodeRow]) -> list[str]:
    """Agents, agents by task, and paired differences under one protocol."""
    strangers = {row.protocol for row in rows} - {protocol}
    if strangers:
        other = sorted(strangers)[0]
        raise UserError(f"results={protocol + '.csv'!r} holds rows of protocol {other!r}; keep those apart")
    check_same_rules(rows, f"results={protocol + '.csv'!r}")
    agents = grouped(rows, lambda row: row.agent)
    agents = {name: agents[name] for name in sorted(agents, key=_agent_rank)}
    tasks = task_order(protocol, rows)
    sections = [_agents_section(protocol, agents, tasks), _matrix_section(agents, tasks)] if rows else []
    pairs = [(first, second) for first, second in PAIRS if first in agents and second in agents]
    return sections + [_difference_section(first, second, agents, tasks) for first, second in pairs]


def task_order(protocol: str, rows: Iterable[EpisodeRow]) -> list[str]:
    """Tasks in the protocol's order, where it is one of the package's; others by name."""
    base = protocol.partition("~")[0]
    known = list(load_protocol(base).tasks) if base in protocol_names() else []
    return known + sorted({row.task for row in rows} - set(known))


def _agent_rank(agent: str) -> tuple[int, str]:
    order = table_order()
    return (order.index(agent) if agent in order else len(order), agent)


def _agents_section(protocol: str, agents: Mapping[str, Sequence[EpisodeRow]], tasks: Sequence[str]) -> str:
    lines = []
    for rows in agents.values():
        summary, played = summarise(rows), len({row.task for row in rows})
        part = f" ({played} of {len(tasks)} tasks)" if played < len(tasks) else ""
        lines.append(
            (
                f"`{summary.agent}`{part}",
                str(summary.episodes),
                percentage(summary.success_any),
                percentage(summary.success_final),
                f"{summary.return_:.0f}",
                f"{summary.plan_seconds:.3f}",
                ", ".join(summary.devices),
                f"{summary.denoiser_calls:.1f}",
                f"{summary.imagined_decisions:.0f}",
                str(summary.errors),
            )
        )
    header = [
        "agent",
        "episodes",
        "success %, any-time",
        "success %, final",
        "return",
        "seconds per plan",
        "device",
        "denoiser calls per plan",
        "imagined decisions per plan",
        "errors",
    ]
    title = f"**Success under protocol `{protocol}`**"
    return f"{title} (95 % Wilson intervals; an episode that broke off counts as a failure)\n\n" + markdown(
        header, lines
    )


def _matrix_section(agents: Mapping[str, Sequence[EpisodeRow]], tasks: Sequence[str]) -> str:
    columns = {agent: {summary.task: summary for summary in per_task(rows, tasks)} for agent, rows in agents.items()}
    lines = []
    for task in tasks:
        cells = [f"{100 * column[task].success_any.mean:.0f}" if task in column else "" for column in columns.values()]
        if any(cells):
            lines.append((task, *cells))
    return "**Any-time success % by task**\n\n" + markdown(("task", *(f"`{agent}`" for agent in agents)), lines)


def _scores(rows: Sequence[EpisodeRow]) -> dict[tuple[str, Hashable], float]:
    """Any-time success by task and seed."""
    return {(row.task, row.seed): float(row.success_any) for row in rows}


def _difference_section(
    first: str, second: str, agents: Mapping[str, Sequence[EpisodeRow]], tasks: Sequence[str]
) -> str:
    ours, theirs = (_scores(agents[name]) for name in (first, second))
    shared = ours.keys() & theirs.keys()
    lines = []
    for task in tasks:
        if any(key[0] == task for key in shared):
            own = {key: score for key, score in ours.items() if key[0] == task}
            lines.append((task, *_difference_cells(paired_difference(own, theirs))))
    if shared:
        lines.append((OVERALL, *_difference_cells(paired_difference(ours, theirs))))
    return (
        f"**`{first}` minus `{second}`** (points of any-time success, paired over seeds, 95 % bootstrap interval)\n\n"
        + markdown(("task", "pairs", "difference"), lines)
    )


def _difference_cells(estimate: Estimate) -> tuple[str, str]:
    points = [f"{100 * value:+.0f}".replace("-0", "+0") for value in (estimate.mean, estimate.low, estimate.high)]
    return str(estimate.count), f"{points[0]} [{points[1]}, {points[2]}]"


def open_loop_section(records: Sequence[Mapping[str, str]]) -> str:
    """Open-loop rollouts at their last decision, one line per chunk length, means over tasks."""
    columns = ("psnr_db", "copy_psnr_db", "object_error_cm", "hand_error_cm")
    summary = sorted(open_loop_rows.summarise(records), key=lambda line: line["f_g"])
    lines = [(f"{line['f_g']}", *(f"{line[column]:.1f}" for column in columns)) for line in summary]
    header = ("f_g", "PSNR dB", "PSNR dB, copying the last frame", "object error cm", "hand error cm")
    title = f"**Open-loop rollouts at decision {summary[0]['decision']}**, held-out episodes"
    return f"{title}\n\n" + markdown(header, lines)


def open_loop_rlbench_section(records: Sequence[Mapping[str, str]]) -> str:
    """The same for RLBench, with what the success head is worth over all decisions."""
    summary = open_loop_rows.summarise(records)
    lines = [
        (
            f"{line['f_g']}",
            *(f"{line[column]:.1f}" for column in ("psnr_db", "copy_psnr_db", "gripper_error_cm")),
            *(f"{100 * line[column]:.1f}" for column in ("success_accuracy", "never_accuracy")),
            f"{100 * line['solved_known']:.0f}" if "solved_known" in line else "",
        )
        for line in summary
    ]
    header = (
        "f_g", "PSNR dB", "PSNR dB, copying the start", "gripper error cm", "success head right, % of frames",
        "never saying it, %", "solved frames that it knows, %",
    )  # fmt: skip
    title = f"**Open-loop rollouts of RLBench at decision {summary[0]['decision']}**, test split"
    return f"{title}\n\n" + markdown(header, lines)


def speed_section(records: Sequence[Mapping[str, str]]) -> str:
    """Measured speeds with their devices."""
    lines = [(record["name"], f"{_number(record['value'])} {record['unit']}", record["device"]) for record in records]
    return "**Speed** (`python -m sfvgen_plan.benchmarks.speed`)\n\n" + markdown(("what", "value", "device"), lines)


def _number(text: str) -> str:
    value = float(text)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_results(readme: str, block: str) -> str:
    """The README text with ``block`` between the two marks.

    Raises:
        UserError: a mark is missing.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(f"readme has no lines {BEGIN} and {END}; put them where the results belong")
    return f"{head}{begin}\n{block}\n{end}{tail}"


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.report.readme"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "readme", nargs="?", type=Path, default=Path("README.md"), help="the file that shows the results"
    )
    results = Path("benchmarks/rows")
    parser.add_argument("results", nargs="?", type=Path, default=results, help="folder of committed rows")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the file is out of date")
    args = parser.parse_args(arguments)
    try:
        if not args.results.is_dir():
            raise UserError(f"results={str(args.results)!r} is no folder; give the folder of committed rows")
        if not args.readme.is_file():
            raise UserError(f"readme={str(args.readme)!r} is no file; give the file that shows the results")
        before = args.readme.read_text()
        after = with_results(before, results_block(args.results))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if args.check and before != after:
        sys.stderr.write(f"{args.readme} is out of date: run {program} {args.readme} {args.results}\n")
        return 1
    if before != after:
        staged = args.readme.with_name(args.readme.name + ".tmp")
        staged.write_text(after)
        os.replace(staged, args.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
