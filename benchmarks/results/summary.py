"""What the rows of an agent add up to, over all tasks and on each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Summary:
    """Episodes of one agent under one protocol; ``task`` is what they were played on.

    The cost of a plan is a mean over decisions, as every decision is a plan; the return is a mean over episodes. Raises
    ValueError: no rows, or rows of several agents or protocols.
    """

    rows: Sequence[EpisodeRow] = field(repr=False)
    task: str = OVERALL

    def __post_init__(self) -> None:
        names = {(row.protocol, row.agent) for row in self.rows}
        if len(names) != 1:
            raise ValueError(f"rows of one protocol and agent are needed, these are of {sorted(names)}")

    @property
    def agent(self) -> str:
        return self.rows[0].agent

    @property
    def checkpoint(self) -> str:
        """Hash of the checkpoint behind the agent, or empty."""
        return self.rows[0].checkpoint

    @property
    def episodes(self) -> int:
        """Episodes played, those that broke off included."""
        return len(self.rows)

    @property
    def errors(self) -> int:
        """Episodes that broke off."""
        return sum(bool(row.error) for row in self.rows)

    @cached_property
    def success_any(self) -> Estimate:
        """Share of the episodes that were solved at any time, with Wilson's interval."""
        return wilson(sum(row.success_any for row in self.rows), self.episodes)

    def success_within(self, decisions: int) -> Estimate:
        """Share of the episodes that were solved by then, with Wilson's interval."""
        solved = (row.first_success is not None and row.first_success <= decisions for row in self.rows)
        return wilson(sum(solved), self.episodes)

    @cached_property
    def success_final(self) -> Estimate:
        """Share of the episodes that were solved at the last decision, with Wilson's interval."""
        return wilson(sum(row.success_final for row in self.rows), self.episodes)

    @property
    def return_(self) -> float:
        """Mean return of an episode."""
        return sum(row.return_ for row in self.rows) / self.episodes

    @property
    def plan_seconds(self) -> float:
        """Mean seconds of a plan, on whatever device."""
        return self._per_plan(lambda row: row.plan_seconds * row.decisions)

    @property
    def denoiser_calls(self) -> float:
        """Mean denoiser calls of a plan."""
        return self._per_plan(lambda row: row.denoiser_calls)

    @property
    def imagined_decisions(self) -> float:
        """Mean imagined decisions of a plan."""
        return self._per_plan(lambda row: row.imagined_decisions)

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
        return {
            "agent": self.agent,
            "task": self.task,
            "episodes": self.episodes,
            "errors": self.errors,
            "success_any": vars(self.success_any),
            "success_final": vars(self.success_final),
            "return": self.return_,
            "denoiser_calls": self.denoiser_calls,
            "imagined_decisions": self.imagined_decisions,
            "plan_seconds": self.plan_seconds,
            "devices": self.by_device,
        }

    def _per_plan(self, cost: Callable[[EpisodeRow], float]) -> float:
        return sum(map(cost, self.rows)) / max(1, sum(row.decisions for row in self.rows))
