"""Who stands where: the agents under each protocol, in order of their success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfvgen_plan.agents.registry import controls
from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.results.import_export import Results
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.store import Run
from sfvgen_plan.benchmarks.results.summary import Summary, grouped
from sfvgen_plan.benchmarks.statistics import Estimate, Scores, interquartile_mean
from sfvgen_plan.errors import UserError, unknown_name


@dataclass(frozen=True)
class Standing:
    """One agent, with one checkpoint, on a board.

    Attributes:
        name: the agent, with its checkpoint where another has the same name.
        rank: None for controls and for agents that have not played every task.
        summary: its episodes.
        scores: task -> speed of success of each episode: 1 for success at the first decision, 1 / limit at the last, 0
            without success.
        speed: interquartile mean of those.
        missing: number of the protocol's tasks that it has not played.
        learning: what the newest of its runs records of the cost of its training.
    """

    name: str
    rank: int | None
    summary: Summary
    scores: Scores
    speed: Estimate
    missing: int
    learning: Mapping[str, Any]

    @property
    def control(self) -> bool:
        """Whether it is one of those that others are compared with; they are shown in their place without a rank."""
        return self.summary.agent in controls()


@dataclass(frozen=True)
class Board:
    """The ranking under one protocol: its tasks, its decisions per episode, and everybody who has played it."""

    protocol: str
    protocol_hash: str
    tasks: Sequence[str]
    limit: int
    standings: Sequence[Standing]

    def top(self, count: int | None) -> Board:
        """The board of the first ``count`` agents."""
        return Board(self.protocol, self.protocol_hash, self.tasks, self.limit, self.standings[:count])


def boards(results: Results, protocol: str | None = None) -> list[Board]:
    """One board for each protocol, or for each set of rules that goes by the name ``protocol``.

    Raises:
        UserError: no rows, no rows of that protocol, or several protocols asked for at once.
    """
    rows = [row for row in results.rows if protocol in (None, row.protocol)]
    if not rows:
        raise _nothing(results.rows, protocol)
    rules, groups = _rules(results.runs), grouped(rows, lambda row: (row.protocol, row.protocol_hash))
    return [_board(groups[key], results.runs, *rules.get(key, (None, None))) for key in sorted(groups)]


def _nothing(rows: Iterable[EpisodeRow], protocol: str | None) -> UserError:
    """Why there is no board."""
    known = {row.protocol for row in rows}
    if not known or protocol is None:
        return UserError("there are no rows; play some with `sfvgen-plan eval --store FILE`")
    if "," in protocol or "+" in protocol:
        return UserError(f"protocol={protocol!r}: rows of different protocols are never ranked together; give one")
    return unknown_name("protocol", protocol, known)


def _board(rows: Sequence[EpisodeRow], runs: Sequence[Run], tasks: Sequence[str] | None, limit: int | None) -> Board:
    """The ranking of rows of the same rules: by any-time success, agents that have not played every task last. Without
    a record of the rules the tasks are those that anybody has played, and the limit is the latest success."""
    tasks = tasks or sorted({row.task for row in rows})
    limit = limit or max((_solved_at(row) for row in rows), default=1) or 1
    found = [Summary(own) for own in grouped(rows, lambda row: (row.agent, row.checkpoint)).values()]
    missing = [len(set(tasks) - summary.by_task.keys()) for summary in found]
    order = sorted(zip(found, missing, strict=True), key=lambda x: (x[1] > 0, -x[0].success_any.mean, x[0].agent))
    agents, costs = [summary.agent for summary in found], _learning(runs)
    standings: list[Standing] = []
    rank = 0
    for summary, absent in order:
        ranked = not absent and summary.agent not in controls()
        rank += ranked
        name = summary.agent
        if agents.count(name) > 1:
            name += f" ({summary.checkpoint[:7] or 'no checkpoint'})"
        scores = {task: [_speed(row, limit) for row in own.rows] for task, own in summary.by_task.items()}
        speed, cost = interquartile_mean(scores), costs.get((summary.agent, summary.checkpoint), {})
        standings.append(Standing(name, rank if ranked else None, summary, scores, speed, absent, cost))
    return Board(rows[0].protocol, rows[0].protocol_hash, tasks, limit, standings)


def _solved_at(row: EpisodeRow) -> int:
    """The decision of the first success, or 0."""
    return (row.first_success or row.decisions) if row.success_any else 0


def _speed(row: EpisodeRow, limit: int) -> float:
    return (limit + 1 - min(max(_solved_at(row), 1), limit)) / limit if row.success_any else 0.0


def _learning(runs: Sequence[Run]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(agent, checkpoint) -> what the newest of its runs records of the cost of learning."""
    known = [run for run in runs if isinstance(run.record.get("learning"), Mapping) and run.record["learning"]]
    known.sort(key=lambda run: str(run.record.get("started", "")))
    return {(run.agent, run.checkpoint): run.record["learning"] for run in known}


def _rules(runs: Sequence[Run]) -> dict[tuple[str, str], tuple[Sequence[str], int]]:
    """(protocol, rules hash) -> tasks and limit: from the package, or from the record of a run under it."""
    rules: dict[tuple[str, str], tuple[Sequence[str], int]] = {}
    for run in runs:
        found, name = run.record.get("rules"), str(run.record.get("protocol_hash", ""))
        try:
            rules[run.protocol, name] = tuple(map(str, found["tasks"])), int(found["max_decisions"])  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            continue  # A run that was imported without its rules.
    for protocol in map(load_protocol, protocol_names()):
        rules[protocol.id, protocol.rules_hash] = protocol.tasks, protocol.max_decisions
    return rules


def ranked_rows(items: Iterable[Board]) -> list[dict[str, Any]]:
    """All boards as plain values, for JSON."""
    return [
        {
            "protocol": board.protocol,
            "protocol_hash": board.protocol_hash,
            "tasks": list(board.tasks),
            "standings": [_plain(standing) for standing in board.standings],
        }
        for board in items
    ]


def _plain(standing: Standing) -> dict[str, Any]:
    summary = standing.summary
    return {
        **summary.to_dict(),
        "rank": standing.rank,
        "checkpoint": summary.checkpoint,
        "control": standing.control,
        "speed_of_success_iqm": vars(standing.speed),
        "seconds_per_plan": summary.by_device,
        "learning": dict(standing.learning),
        "tasks": {task: own.figures() for task, own in summary.by_task.items()},
    }
