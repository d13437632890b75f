"""What the rows of an agent add up to, over all tasks and on each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.statistics import Estimate, percentage, wilson
from sfvgen_plan.console import counted, readable, table

if TYPE_CHECKING:
    from rich.table import Table

OVERALL = "all tasks"

Name = TypeVar("Name")
Row = TypeVar("Row")


def grouped(rows: Iterable[Row], by: Callable[[Row], Name]) -> dict[Name, list[Row]]:
    """Rows by something of theirs, in the order in which it comes up."""
    groups: dict[Name, list[Row]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups


class Summary:
    """Episodes of one agent under one protocol; ``task`` is what they were played on. Raises ValueError: no rows, or
    rows of several agents or protocols.

    Attributes:
        agent, checkpoint: name of the agent, and hash of the checkpoint behind it, or empty.
        episodes, errors: how many were played, and how many of them broke off.
        return_: mean of an episode.
        plan_seconds, denoiser_calls, imagined_decisions: means of a decision, as every decision is a plan.
    """

    def __init__(self, rows: Sequence[EpisodeRow], task: str = OVERALL) -> None:
        names = {(row.protocol, row.agent) for row in rows}
        if len(names) != 1:
            raise ValueError(f"rows of one protocol and agent are needed, these are of {sorted(names)}")
        self.rows, self.task, self.episodes = rows, task, len(rows)
        self.agent, self.checkpoint = rows[0].agent, rows[0].checkpoint
        self.errors = sum(bool(row.error) for row in rows)
        self.return_ = sum(row.return_ for row in rows) / len(rows)
        plans = max(1, sum(row.decisions for row in rows))
        self.plan_seconds = sum(row.plan_seconds * row.decisions for row in rows) / plans
        self.denoiser_calls = sum(row.denoiser_calls for row in rows) / plans
        self.imagined_decisions = sum(row.imagined_decisions for row in rows) / plans

    @cached_property
    def success_any(self) -> Estimate:
        """Share of the episodes that were solved at any time, with Wilson's interval."""
        return wilson(sum(row.success_any for row in self.rows), self.episodes)

    @cached_property
    def success_final(self) -> Estimate:
        """Share of the episodes that were solved at the last decision, with Wilson's interval."""
        return wilson(sum(row.success_final for row in self.rows), self.episodes)

    def success_within(self, decisions: int) -> Estimate:
        """Share of the episodes that were solved by then, with Wilson's interval."""
        solved = (row.first_success is not None and row.first_success <= decisions for row in self.rows)
        return wilson(sum(solved), self.episodes)

    @cached_property
    def by_device(self) -> dict[str, float]:
        """Mean seconds of a plan by device, as times of different machines don't add up."""
        devices = grouped(self.rows, lambda row: row.device)
        return {device: Summary(devices[device]).plan_seconds for device in sorted(devices)}

    @cached_property
    def by_task(self) -> dict[str, Summary]:
        """Task -> the summary of its episodes."""
        return {task: Summary(rows, task) for task, rows in grouped(self.rows, lambda row: row.task).items()}

    @property
    def any_time(self) -> dict[tuple[str, Hashable], float]:
        """(task, seed) -> whether the episode was solved at any time."""
        return {(row.task, row.seed): float(row.success_any) for row in self.rows}

    def in_order(self, tasks: Sequence[str]) -> list[Summary]:
        """A summary for each of ``tasks`` that was played, and this one behind them if there are several."""
        played = [self.by_task[task] for task in tasks if task in self.by_task]
        return played if len(played) < 2 else [*played, self]

    def to_dict(self) -> dict[str, Any]:
        own = ("agent", "task", "episodes", "errors", "denoiser_calls", "imagined_decisions", "plan_seconds")
        return {
            **{name: getattr(self, name) for name in own},
            "success_any": vars(self.success_any),
            "success_final": vars(self.success_final),
            "return": self.return_,
            "devices": self.by_device,
        }

    def table(self, tasks: Sequence[str]) -> Table:
        """For a terminal: a line for each of the tasks and one for all."""
        lines = [
            (own.task, own.episodes, percentage(own.success_any), percentage(own.success_final), f"{own.return_:.1f}",
             f"{own.plan_seconds:.3f}", own.errors)
            for own in self.in_order(tasks)
        ]  # fmt: skip
        header = ("task", "n", "any-time %", "final %", "return", "s/plan", "err")
        made = table(f"{self.agent} · protocol {self.rows[0].protocol}", header, lines)
        if len(lines) > 1:
            made.rows[-2].end_section = True
        return made

    def verdict(self) -> str:
        """What the rows say, in a sentence; where nothing was solved, as in tasks that know no success, with the
        return."""
        rate = self.success_any
        solved = f"{self.agent} solved {100 * rate.mean:.0f} % of {counted(self.episodes, 'episode')}"
        interval = f"95 % interval {100 * rate.low:.0f} to {100 * rate.high:.0f} %"
        broke = f"; {self.errors} broke off" if self.errors else ""
        earned = "" if rate.mean else f" and earned {readable(self.return_)} an episode"
        seconds = self.plan_seconds
        pace = f"{readable(seconds)} s" if seconds >= 0.1 else f"{max(1, 1000 * seconds):.0f} ms"
        asked = f"{self.denoiser_calls:.0f} calls of the denoiser for {self.imagined_decisions:.0f} imagined decisions"
        costs = f"{pace} and {asked}" if self.imagined_decisions else f"{pace} and imagined nothing"
        devices = "".join(f", on {device}" for device in self.by_device if device)
        return f"{solved} ({interval}{broke}){earned}; a decision took {costs}{devices}."
