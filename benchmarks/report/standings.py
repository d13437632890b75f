"""Who stands where: everything that leaderboards and reports show, added up from the rows of a store.

A ``Board`` is the ranking under one protocol, and cannot be made of standings of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from sfvgen_plan.agents.registry import controls
from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.results.store import Run, Store
from sfvgen_plan.benchmarks.robust import RESAMPLES, Scores, interquartile_mean
from sfvgen_plan.benchmarks.statistics import Estimate, wilson
from sfvgen_plan.errors import UserError, unknown_name

EFFORT = 10_000_000
"""Multinomial cells that a board's intervals may cost; large boards get fewer resamples."""

FEWEST = 100

_TOTALS = """
SELECT protocol, protocol_hash, agent, checkpoint, device, task,
       CASE WHEN success_any THEN COALESCE(first_success, decisions) ELSE 0 END AS first,
       COUNT(*), SUM(success_final), SUM(error <> ''), SUM(return), SUM(decisions), SUM(plan_seconds * decisions),
       SUM(denoiser_calls), SUM(imagined_decisions)
FROM results {where} GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


@dataclass
class TaskTotals:
    """Sums over one agent's episodes on one task. ``solved_at``: decision of the first success -> episodes."""

    episodes: int = 0
    any_time: int = 0
    final: int = 0
    errors: int = 0
    solved_at: dict[int, int] = field(default_factory=dict)


@dataclass
class Standing:
    """One agent, with one checkpoint, under one protocol. ``seconds`` and ``timed`` are per device, since times of
    different machines don't add up: seconds spent planning, and decisions planned."""

    protocol: str
    protocol_hash: str
    agent: str
    checkpoint: str
    tasks: dict[str, TaskTotals] = field(default_factory=dict)
    return_: float = 0.0
    decisions: int = 0
    denoiser_calls: int = 0
    imagined_decisions: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    timed: dict[str, int] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """Played, those that broke off included."""
        return sum(task.episodes for task in self.tasks.values())

    @property
    def errors(self) -> int:
        """Episodes that broke off."""
        return sum(task.errors for task in self.tasks.values())

    @cached_property
    def success_any(self) -> Estimate:
        """Share of the episodes that were solved at any decision, with Wilson's interval."""
        return wilson(sum(task.any_time for task in self.tasks.values()), self.episodes)

    @cached_property
    def success_final(self) -> Estimate:
        """Share of the episodes that were solved at the last decision, with Wilson's interval."""
        return wilson(sum(task.final for task in self.tasks.values()), self.episodes)

    @property
    def control(self) -> bool:
        """Whether it is one of the rows that others are compared with; they are shown in their place without a rank."""
        return self.agent in controls()

    @property
    def seconds_per_plan(self) -> dict[str, float]:
        """Mean seconds of a plan, by device."""
        return {device: self.seconds[device] / max(1, self.timed[device]) for device in self.seconds}

    @property
    def calls_per_plan(self) -> float:
        """Mean denoiser calls of a plan."""
        return self.denoiser_calls / max(1, self.decisions)

    @property
    def imagined_per_plan(self) -> float:
        """Mean imagined decisions of a plan."""
        return self.imagined_decisions / max(1, self.decisions)

    def scores(self, limit: int) -> Scores:
        """Speed of success of each episode: 1 for the first decision of ``limit``, 1/limit for the last, 0 without."""
        counts = np.zeros((len(self.tasks), limit + 1), np.int64)
        for index, task in enumerate(self.tasks.values()):
            counts[index, 0] = task.episodes - task.any_time
            for decision, episodes in task.solved_at.items():
                counts[index, limit + 1 - min(max(decision, 1), limit)] += episodes
        return Scores(tuple(self.tasks), np.arange(limit + 1) / limit, counts)


@dataclass(frozen=True)
class Board:
    """The ranking under one protocol. ``tasks`` are those of the protocol, ``limit`` its decisions per episode;
    ``speed`` has the interquartile mean of the speed of success of each standing; ``learning`` what the runs of an
    agent with a checkpoint record of the cost of their training.

    Raises:
        UserError: standings of several protocols, or of the same one with other rules.
    """

    protocol: str
    protocol_hash: str
    tasks: tuple[str, ...]
    limit: int
    standings: tuple[Standing, ...]
    speed: tuple[Estimate, ...]
    resamples: int
    learning: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strangers = {(item.protocol, item.protocol_hash) for item in self.standings}
        strangers -= {(self.protocol, self.protocol_hash)}
        if strangers:
            other, rules = min(strangers)
            raise UserError(
                f"protocol={self.protocol!r} (rules {self.protocol_hash}) can't be ranked together with "
                f"protocol={other!r} (rules {rules}): their figures mean different things; ask for one table each"
            )

    @property
    def places(self) -> list[int | None]:
        """Rank of each standing; None for controls and for agents that have not played every task."""
        places: list[int | None] = []
        rank = 0
        for standing in self.standings:
            ranked = not standing.control and self.complete(standing)
            rank += ranked
            places.append(rank if ranked else None)
        return places

    def complete(self, standing: Standing) -> bool:
        """Whether the agent has played every task."""
        return standing.tasks.keys() >= set(self.tasks)

    def names(self) -> list[str]:
        """Names of the agents, with the checkpoint where two have the same."""
        agents = [standing.agent for standing in self.standings]
        return [
            f"{item.agent} ({item.checkpoint[:7] or 'no checkpoint'})" if agents.count(item.agent) > 1 else item.agent
            for item in self.standings
        ]


def boards(store: Store, protocol: str | None = None) -> list[Board]:
    """One board for each protocol, or for each set of rules that goes by the name ``protocol``.

    Raises:
        UserError: no rows, no rows of that protocol, or several protocols asked for at once.
    """
    found = standings(store, protocol)
    if not found:
        raise _nothing(store, protocol)
    groups: dict[tuple[str, str], list[Standing]] = {}
    for standing in found:
        groups.setdefault((standing.protocol, standing.protocol_hash), []).append(standing)
    runs = store.runs()
    rules, learning = _recorded_rules(runs), _recorded_learning(runs)
    return [
        replace(board_of(group, *rules.get(key, (None, None))), learning=learning)
        for key, group in sorted(groups.items())
    ]


def _nothing(store: Store, protocol: str | None) -> UserError:
    """Why there is no board."""
    known = [name for (name,) in store.query("SELECT DISTINCT protocol FROM results")]
    if not known or protocol is None:
        return UserError(f"store={str(store.path)!r} has no rows; play some with `sfvgen-plan eval --store FILE`")
    if "," in protocol or "+" in protocol:
        return UserError(f"protocol={protocol!r}: rows of different protocols are never ranked together; give one")
    return unknown_name("protocol", protocol, known)


def standings(store: Store, protocol: str | None = None) -> list[Standing]:
    """Every agent under every protocol, added up."""
    where, values = ("WHERE protocol = ?", (protocol,)) if protocol else ("", ())
    found: dict[tuple[str, ...], Standing] = {}
    for row in store.query(_TOTALS.format(where=where), values):
        key, device, task = row[:4], row[4], row[5]
        standing = found.setdefault(key, Standing(*key))
        _add(standing, standing.tasks.setdefault(task, TaskTotals()), device, *row[6:])
    return list(found.values())


def _add(
    standing: Standing,
    task: TaskTotals,
    device: str,
    first: int,
    episodes: int,
    final: int,
    errors: int,
    return_: float,
    decisions: int,
    seconds: float,
    calls: int,
    imagined: int,
) -> None:
    task.episodes += episodes
    task.final += final
    task.errors += errors
    if first:
        task.any_time += episodes
        task.solved_at[first] = task.solved_at.get(first, 0) + episodes
    standing.return_ += return_
    standing.decisions += decisions
    standing.denoiser_calls += calls
    standing.imagined_decisions += imagined
    standing.seconds[device] = standing.seconds.get(device, 0.0) + seconds
    standing.timed[device] = standing.timed.get(device, 0) + decisions


def board_of(
    found: Sequence[Standing], tasks: Sequence[str] | None = None, limit: int | None = None, resamples: int = RESAMPLES
) -> Board:
    """The ranking of ``found``: by any-time success, agents that have not played every task last.

    Args:
        found: standings under one protocol.
        tasks: tasks of the protocol; None: those that anybody has played.
        limit: decisions per episode; None: the latest success.
        resamples: of the bootstrap, at most.

    Raises:
        UserError: standings of several protocols.
    """
    first = found[0]
    if tasks is None:
        tasks = sorted({task for item in found for task in item.tasks})
    if limit is None:
        limit = max(
            (decision for item in found for task in item.tasks.values() for decision in task.solved_at), default=1
        )
    complete = [item.tasks.keys() >= set(tasks) for item in found]
    order = sorted(range(len(found)), key=lambda i: (not complete[i], -found[i].success_any.mean, found[i].agent))
    ordered = [found[index] for index in order]
    cells = sum(len(task.solved_at) + 1 for item in ordered for task in item.tasks.values())
    resamples = int(np.clip(EFFORT / cells, FEWEST, resamples))
    speed = tuple(interquartile_mean(item.scores(limit), resamples) for item in ordered)
    return Board(first.protocol, first.protocol_hash, tuple(tasks), limit, tuple(ordered), speed, resamples)


def _recorded_learning(runs: Sequence[Run]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(agent, checkpoint) -> what the newest of its runs records of the cost of learning."""
    known = [run for run in runs if isinstance(run.record.get("learning"), Mapping) and run.record["learning"]]
    known.sort(key=lambda run: str(run.record.get("started", "")))
    return {(run.agent, run.checkpoint): run.record["learning"] for run in known}


def _recorded_rules(runs: Sequence[Run]) -> dict[tuple[str, str], tuple[tuple[str, ...], int]]:
    """(protocol, rules hash) -> tasks and limit: from the package, or from the record of a run under it."""
    rules: dict[tuple[str, str], tuple[tuple[str, ...], int]] = {}
    for run in runs:
        found: Any = run.record.get("rules")
        name = str(run.record.get("protocol_hash", ""))
        try:
            rules[run.protocol, name] = tuple(map(str, found["tasks"])), int(found["max_decisions"])
        except (TypeError, KeyError, ValueError):
            continue  # A run that was imported without its rules.
    for name in protocol_names():
        protocol = load_protocol(name)
        rules[name, protocol.rules_hash] = protocol.tasks, protocol.max_decisions
    return rules


def ranked_rows(items: Iterable[Board]) -> list[dict[str, Any]]:
    """All boards as plain values, for JSON."""
    return [
        {
            "protocol": board.protocol,
            "protocol_hash": board.protocol_hash,
            "tasks": list(board.tasks),
            "resamples": board.resamples,
            "standings": [
                _plain(standing, rank, speed)
                | {"learning": dict(board.learning.get((standing.agent, standing.checkpoint), {}))}
                for standing, rank, speed in zip(board.standings, board.places, board.speed, strict=True)
            ],
        }
        for board in items
    ]


def _plain(standing: Standing, rank: int | None, speed: Estimate) -> dict[str, Any]:
    return {
        "rank": rank,
        "agent": standing.agent,
        "checkpoint": standing.checkpoint,
        "control": standing.control,
        "episodes": standing.episodes,
        "errors": standing.errors,
        "success_any": vars(standing.success_any),
        "success_final": vars(standing.success_final),
        "speed_of_success_iqm": vars(speed),
        "return": standing.return_ / standing.episodes,
        "seconds_per_plan": standing.seconds_per_plan,
        "denoiser_calls_per_plan": standing.calls_per_plan,
        "imagined_decisions_per_plan": standing.imagined_per_plan,
        "tasks": {
            name: {
                "episodes": task.episodes,
                "success_any": task.any_time,
                "success_final": task.final,
                "errors": task.errors,
            }
            for name, task in standing.tasks.items()
        },
    }
