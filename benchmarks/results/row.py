"""Rows: what is kept of an episode, and files of rows that are committed.

``python -m sfvgen_plan.benchmarks.results merge RUN... --into benchmarks/rows/metaworld-10.csv`` adds the rows of
finished runs (their folders, stores or CSV files) to the committed ones; of two rows for the same protocol, task,
agent and seed the newest wins. With ``--into all.sqlite`` they are added to a store. ``export`` writes the rows of a
store to a file.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

LARGEST = 2**63 - 1
"""Integer that a store can hold."""


class EpisodeKey(NamedTuple):
    """What makes an episode the same one in another run."""

    protocol: str
    task: str
    agent: str
    seed: int
    checkpoint: str


@dataclass(frozen=True)
class EpisodeRow:
    """Result of one episode.

    Attributes:
        protocol: id of the protocol it was played under.
        task, agent, seed: what was played, by whom, from which start.
        success_any: the success flag was up at some raw step.
        success_final: the success flag was up in the last decision (see ``Protocol``).
        return_: sum over decisions of the reward per decision (mean of its raw steps).
        decisions: decisions played.
        plan_seconds: wall time per decision spent choosing it, on ``device``.
        denoiser_calls: forward passes of the denoiser in the whole episode.
        imagined_decisions: decisions imagined in the whole episode.
        error: what ended the episode early, or empty. Such an episode counts as a failure.
        first_success: the decision that first succeeded, counted from 1, or None.
        checkpoint: hash of the checkpoint behind the agent, or empty.
        device: where the agent computed.
        protocol_hash: ``Protocol.rules_hash`` of the rules it was played under; empty in files from before it existed.
        run: id of the run that played it, or empty.
    """

    protocol: str
    task: str
    agent: str
    seed: int
    success_any: bool
    success_final: bool
    return_: float
    decisions: int
    plan_seconds: float
    denoiser_calls: int
    imagined_decisions: int
    error: str = ""
    first_success: int | None = None
    checkpoint: str = ""
    device: str = ""
    protocol_hash: str = ""
    run: str = ""

    @property
    def key(self) -> EpisodeKey:
        return EpisodeKey(self.protocol, self.task, self.agent, self.seed, self.checkpoint)

    def check(self) -> EpisodeRow:
        """This row, if it makes sense.

        Raises:
            ValueError: a number that is not finite, too large, or negative where none can be; text that no file can
                hold; a success nobody saw.
        """
        for name in ("return_", "plan_seconds"):
            if not abs(getattr(self, name)) <= sys.float_info.max:
                raise ValueError(f"{name.rstrip('_')}={getattr(self, name)} is not finite")
        for name in ("seed", "decisions", "plan_seconds", "denoiser_calls", "imagined_decisions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")
        for name in ("seed", "decisions", "denoiser_calls", "imagined_decisions"):
            if getattr(self, name) > LARGEST:
                raise ValueError(f"{name}={getattr(self, name)} is too large")
        "".join(value for value in vars(self).values() if isinstance(value, str)).encode()  # surrogates can't be
        if self.success_final and not self.success_any:
            raise ValueError("success_final=1 without success_any=1")
        if self.first_success is not None and not 1 <= self.first_success <= max(1, self.decisions):
            raise ValueError(f"first_success={self.first_success} lies outside the {self.decisions} decisions")
        if self.error and self.success_any:
            raise ValueError("an episode that broke off counts as a failure, this one has success_any=1")
        return self

    def to_dict(self) -> dict[str, str]:
        """Column -> text, as stored."""
        return {
            "protocol": self.protocol,
            "task": self.task,
            "agent": self.agent,
            "seed": str(self.seed),
            "success_any": str(int(self.success_any)),
            "success_final": str(int(self.success_final)),
            "return": f"{self.return_:.4f}",
            "decisions": str(self.decisions),
            "plan_seconds": f"{self.plan_seconds:.5f}",
            "denoiser_calls": str(self.denoiser_calls),
            "imagined_decisions": str(self.imagined_decisions),
            "error": " ".join(self.error.split()),
            "first_success": "" if self.first_success is None else str(self.first_success),
            "checkpoint": self.checkpoint,
            "device": self.device,
            "protocol_hash": self.protocol_hash,
            "run": self.run,
        }

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> EpisodeRow:
        """Inverse of ``to_dict``; the columns after ``error`` may be missing.

        Raises:
            KeyError, ValueError: a column is missing, is no number, or makes no sense.
        """
        first_success = values.get("first_success", "")
        return cls(
            protocol=values["protocol"],
            task=values["task"],
            agent=values["agent"],
            seed=int(values["seed"]),
            success_any=_flag(values["success_any"]),
            success_final=_flag(values["success_final"]),
            return_=float(values["return"]),
            decisions=int(values["decisions"]),
            plan_seconds=float(values["plan_seconds"]),
            denoiser_calls=int(values["denoiser_calls"]),
            imagined_decisions=int(values["imagined_decisions"]),
            error=values["error"],
            first_success=int(first_success) if first_success else None,
            checkpoint=values.get("checkpoint", ""),
            device=values.get("device", ""),
            protocol_hash=values.get("protocol_hash", ""),
            run=values.get("run", ""),
        ).check()


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


COLUMNS: tuple[str, ...] = tuple(
    "return" if field.name == "return_" else field.name for field in dataclasses.fields(EpisodeRow)
)


def read_rows(path: Path) -> list[EpisodeRow]:
    """Rows of a CSV file in file order, without a last row that a crash has torn.

    Raises:
        UserError: no such file, or not a file of rows.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"rows={str(path)!r} can't be read ({reason}); give a CSV of episode rows") from None
    text, end, torn = text.rpartition("\n")
    if torn:
        logger.warning("the last line of %s has no end; it is left out", path)
    rows = []
    for number, values in enumerate(csv.DictReader(io.StringIO(text + end)), start=2):
        try:
            rows.append(EpisodeRow.from_dict(values))
        except (KeyError, ValueError, TypeError) as error:
            message = f"rows={str(path)!r} line {number} is no episode row ({error!r}); give a CSV of episode rows"
            raise UserError(message) from None
    return rows


def newest(rows: Iterable[EpisodeRow]) -> Iterable[EpisodeRow]:
    """Rows without those that a later row of the same episode replaces."""
    return {row.key: row for row in rows}.values()


def write_rows(path: Path, rows: Iterable[EpisodeRow]) -> None:
    """Replace ``path`` by these rows in one step."""
    write_text(path, csv_text([COLUMNS, *(row.to_dict().values() for row in rows)]))


def check_same_rules(rows: Iterable[EpisodeRow], where: str) -> None:
    """Refuse rows of one protocol whose rules were changed between them; rows from before there were hashes have none.

    Raises:
        UserError: naming ``where`` they would stand together.
    """
    hashes = sorted({row.protocol_hash for row in rows} - {""})
    if len(hashes) > 1:
        raise UserError(f"{where} has rows under other rules of the same name ({', '.join(hashes)}); keep those apart")


def merge(sources: Sequence[Path], into: Path) -> list[EpisodeRow]:
    """Add the rows of ``sources`` (CSV files, stores, run folders), oldest first, to the CSV file ``into`` and return
    all that it holds now.

    Episodes are told apart by protocol, task, agent and seed: committed rows show one checkpoint per agent.

    Raises:
        UserError: rows of a protocol other than the one that ``into`` is named for, or of other rules of that name.
    """
    from sfvgen_plan.benchmarks.results.import_export import read_source

    rows = read_rows(into) if into.exists() else []
    for source in sources:
        rows += read_source(source)
    for row in rows:
        if row.protocol != into.stem:
            raise UserError(
                f"into={str(into)!r} is for protocol {into.stem!r}, but a row is of {row.protocol!r}; merge those apart"
            )
    merged = {row.key[:4]: row for row in rows}
    ordered = [merged[key] for key in sorted(merged)]
    check_same_rules(ordered, f"into={str(into)!r}")
    write_rows(into, ordered)
    return ordered
