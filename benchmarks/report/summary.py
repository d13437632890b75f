"""What rows add up to, per task and over all tasks, and the table of it for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sfvgen_plan.benchmarks.results import EpisodeRow
from sfvgen_plan.benchmarks.statistics import Estimate, wilson

if TYPE_CHECKING:
    from rich.table import Table

OVERALL = "all tasks"


@dataclass(frozen=True)
class Summary:
    """Several episodes of one agent, on ``task`` or on ``OVERALL``.

    Costs are means over decisions (a decision is a plan), the return is a mean over episodes. ``devices`` are those
    that ``plan_seconds`` was measured on.
    """

    agent: str
    task: str
    success_any: Estimate
    success_final: Estimate
    return_: float
    plan_seconds: float
    denoiser_calls: float
    imagined_decisions: float
    errors: int
    devices: tuple[str, ...]

    @property
    def episodes(self) -> int:
        return self.success_any.count

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = asdict(self)
        values["return"] = values.pop("return_")
        return {"episodes": self.episodes, **values}


def summarise(rows: Sequence[EpisodeRow], task: str = OVERALL) -> Summary:
    """Summary of one agent's rows.

    Raises:
        ValueError: no rows, or rows of several agents or protocols.
    """
    names = {(row.protocol, row.agent) for row in rows}
    if len(names) != 1:
        raise ValueError(f"rows of one protocol and agent are needed, these are of {sorted(names)}")
    decisions = max(1, sum(row.decisions for row in rows))
    return Summary(
        agent=rows[0].agent,
        task=task,
        success_any=wilson(sum(row.success_any for row in rows), len(rows)),
        success_final=wilson(sum(row.success_final for row in rows), len(rows)),
        return_=sum(row.return_ for row in rows) / len(rows),
        plan_seconds=sum(row.plan_seconds * row.decisions for row in rows) / decisions,
        denoiser_calls=sum(row.denoiser_calls for row in rows) / decisions,
        imagined_decisions=sum(row.imagined_decisions for row in rows) / decisions,
        errors=sum(bool(row.error) for row in rows),
        devices=tuple(sorted({row.device for row in rows if row.device})),
    )


def grouped(rows: Iterable[EpisodeRow], by: Callable[[EpisodeRow], str]) -> dict[str, list[EpisodeRow]]:
    """Rows by a name of theirs, in the order in which the names come up."""
    groups: dict[str, list[EpisodeRow]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups


def per_task(rows: Sequence[EpisodeRow], tasks: Sequence[str]) -> list[Summary]:
    """One summary per task of ``tasks`` that has rows, and the overall one last if there are several."""
    groups = grouped(rows, lambda row: row.task)
    summaries = [summarise(groups[task], task) for task in tasks if task in groups]
    return summaries if len(summaries) < 2 else [*summaries, summarise(rows)]


def percentage(estimate: Estimate) -> str:
    """Success rate in percent with its interval, such as ``95 [76, 99]``."""
    return f"{100 * estimate.mean:.0f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def terminal_table(rows: Sequence[EpisodeRow], tasks: Sequence[str]) -> Table:
    """Table of one agent's rows under one protocol: a line per task and one for all. Fits into 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    first = rows[0]
    devices = ", ".join(sorted({row.device for row in rows if row.device}))
    # Names may come from anywhere: as Text, brackets in them are no markup.
    title = Text(f"{first.agent} · protocol {first.protocol}" + (f" · {devices}" if devices else ""))
    summaries = per_task(rows, tasks)
    broken = any(summary.errors for summary in summaries)
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("task", no_wrap=True)
    columns = ("episodes", "success %\nany-time", "at the\nend %", "return", "s a\nplan", "imagined\na plan")
    for column in (*columns, *(["errors"] if broken else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for summary in summaries:
        if summary.task == OVERALL:
            table.add_section()
        table.add_row(
            summary.task,
            str(summary.episodes),
            percentage(summary.success_any),
            f"{100 * summary.success_final.mean:.0f}",
            f"{summary.return_:.1f}",
            f"{summary.plan_seconds:.2f}",
            f"{summary.imagined_decisions:.0f}",
            *([str(summary.errors)] if broken else []),
        )
    return table
