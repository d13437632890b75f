"""What the rows of an agent add up to, over all tasks and on each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.statistics import Estimate, wilson

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
