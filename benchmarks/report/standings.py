"""Who stands where: the agents under each protocol, in order of their success; as tables for a terminal, and as one
HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Names of agents, tasks, protocols and devices come from stores that anybody may have written: the template escapes all
of them, and the page's content security policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from sfvgen_plan.agents.registry import controls
from sfvgen_plan.benchmarks.protocols import load_protocol, protocol_names
from sfvgen_plan.benchmarks.report.markdown import rendered
from sfvgen_plan.benchmarks.results.row import EpisodeRow
from sfvgen_plan.benchmarks.results.summary import Summary, grouped
from sfvgen_plan.benchmarks.statistics import percentage, wilson
from sfvgen_plan.console import table
from sfvgen_plan.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = 8  # colours of the page, --c0 to --c7; more lines than that can't be told apart
PROFILE_POINTS = 50
WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, UPPER, LOWER = 46, 616, 12, 286  # size of a chart, and edges of the area within its axes, in SVG units


@dataclass(frozen=True)
class Standing:
    """One agent, with one checkpoint, on a board; its name has the checkpoint where another has the same. Controls,
    which others are compared with, and agents that have not played every task have no rank, and a remark why."""

    name: str
    rank: int | None
    remark: str
    summary: Summary


@dataclass(frozen=True)
class Board:
    """The ranking under one protocol: its tasks, its decisions per episode, and everybody who has played it."""

    protocol: str
    protocol_hash: str
    tasks: Sequence[str]
    limit: int
    standings: Sequence[Standing]

    @property
    def title(self) -> str:
        """Protocol and rules."""
        return f"Protocol {self.protocol} (rules {self.protocol_hash or 'unknown'})"

    @property
    def caveat(self) -> str:
        """What the figures mean."""
        return (
            "95 % Wilson intervals. An episode that broke off counts as a failure. Controls and agents that have not "
            "played every task have no rank."
        )

    @property
    def published(self) -> list[dict[str, Any]]:
        """Figures of others under protocols of their own, as ``references.yaml`` has them, to be read beside it."""
        blocks = yaml.safe_load((resources.files(__package__) / "references.yaml").read_text())
        return [block for block in blocks if self.protocol.partition("~")[0] in block["beside"]]

    def to_dict(self) -> dict[str, Any]:
        standings = [
            {
                **own.summary.to_dict(),
                "rank": own.rank,
                "remark": own.remark,
                "checkpoint": own.summary.checkpoint,
                "tasks": {task: summary.to_dict() for task, summary in own.summary.by_task.items()},
            }
            for own in self.standings
        ]
        rules = {"protocol": self.protocol, "protocol_hash": self.protocol_hash, "tasks": list(self.tasks)}
        return {**rules, "standings": standings}


def boards(rows: Sequence[EpisodeRow], protocol: str | None = None) -> list[Board]:
    """One board for each protocol, or for each set of rules that goes by the name ``protocol``. Raises UserError: no
    rows, no rows of that protocol, or several protocols asked for at once."""
    known = {row.protocol for row in rows}
    if not known:
        raise UserError("there are no rows; play some with `sfvgen-plan eval --store FILE`")
    if protocol is not None and protocol not in known:
        if "," in protocol or "+" in protocol:
            raise UserError(f"protocol={protocol!r}: rows of different protocols are never ranked together; give one")
        raise unknown_name("protocol", protocol, known)
    wanted = [row for row in rows if protocol in (None, row.protocol)]
    groups = grouped(wanted, lambda row: (row.protocol, row.protocol_hash))
    return [_board(*key, groups[key]) for key in sorted(groups)]


def _board(protocol: str, rules: str, rows: Sequence[EpisodeRow]) -> Board:
    """The ranking of rows of the same rules: by any-time success, agents that have not played every task last."""
    tasks = task_order(protocol, rows)
    limit = max(row.decisions for row in rows)
    if protocol in protocol_names() and load_protocol(protocol).rules_hash == rules:
        limit = load_protocol(protocol).max_decisions
    found = [Summary(own) for own in grouped(rows, lambda row: (row.agent, row.checkpoint)).values()]
    found.sort(key=lambda own: (len(own.by_task) < len(tasks), -own.success_any.mean, own.agent))
    namesakes, standings, rank = Counter(own.agent for own in found), [], 0
    for own in found:
        remark = "control" if own.agent in controls() else ""
        remark = f"{len(own.by_task)} of {len(tasks)} tasks" if len(own.by_task) < len(tasks) else remark
        rank += not remark
        other = f" ({own.checkpoint[:7] or 'no checkpoint'})" if namesakes[own.agent] > 1 else ""
        standings.append(Standing(own.agent + other, None if remark else rank, remark, own))
    return Board(protocol, rules, tasks, limit, standings)


def task_order(protocol: str, rows: Iterable[EpisodeRow]) -> list[str]:
    """Tasks of the protocol, where it is one of the package's or a variant, and others that were played by name."""
    base = protocol.partition("~")[0]
    known = list(load_protocol(base).tasks) if base in protocol_names() else []
    return known + sorted({row.task for row in rows} - set(known))


def terminal(boards: Sequence[Board]) -> RenderableType:
    """All boards, one table each."""
    from rich.console import Group
    from rich.text import Text

    header = ("#", "agent", "n", "any-time %", "final %", "s/plan", "err")
    parts: list[RenderableType] = []
    for board in boards:
        lines = []
        for own in board.standings:
            place, name = str(own.rank or "–"), " · ".join(filter(None, (own.name, own.remark)))
            found, seconds = own.summary, [f"{value:.3f}" for value in sorted(own.summary.by_device.values())]
            success = percentage(found.success_any), f"{100 * found.success_final.mean:.0f}"
            pace = "–".join(dict.fromkeys((seconds[0], seconds[-1])))
            lines.append((place, name, found.episodes, *success, pace, found.errors))
        parts += [table(board.title, header, lines), Text(board.caveat + "\n", style="dim")]
    return Group(*parts)


def report(boards: Sequence[Board], when: str = "") -> str:
    """The whole page; ``when`` says when the rows were read."""
    style = (resources.files(__package__) / "report.css").read_text()
    sections = [(board, _profiles(board)) for board in boards]
    area = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "x": _x, "y": _y}
    return rendered("report/report.html.jinja", style=style, when=when, sections=sections, **area)


def _profiles(board: Board) -> dict[str, Any] | None:
    """Share of the episodes solved within so many decisions, of the first agents that have played every task."""
    complete = [own for own in board.standings if len(own.summary.by_task) == len(board.tasks)]
    steps = sorted({round(board.limit * n / PROFILE_POINTS) for n in range(PROFILE_POINTS + 1)})
    lines = []
    for own in complete[:COLOURS]:
        solved = [row.first_success or row.decisions for row in own.summary.rows if row.success_any]
        shares = [wilson(sum(at <= step for at in solved), own.summary.episodes) for step in steps]
        middle, low, high = (
            [f"{_x(step / board.limit)},{_y(getattr(share, end))}" for step, share in zip(steps, shares, strict=True)]
            for end in ("mean", "low", "high")
        )
        lines.append({"name": own.name, "points": middle, "band": high + low[::-1]})
    every = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if s >= board.limit / 5)
    ticks = [(value / board.limit, f"{value}") for value in range(0, board.limit + 1, every)]
    more = f" The first {COLOURS} of {len(complete)} agents." if len(complete) > COLOURS else ""
    return {"lines": lines, "ticks": ticks, "more": more} if lines else None


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(LOWER - share * (LOWER - UPPER), 1)
