"""One row per episode, on disk the moment the episode ends.

``python -m sfvgen_plan.benchmarks.results merge RUN.csv... --into benchmarks/results/metaworld-10.csv`` adds the rows
of finished runs to the committed ones; of two rows for the same protocol, task, agent and seed the newest wins.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sfvgen_plan.errors import UserError


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

    @property
    def key(self) -> EpisodeKey:
        return EpisodeKey(self.protocol, self.task, self.agent, self.seed, self.checkpoint)

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
        }

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> EpisodeRow:
        """Inverse of ``to_dict``; the columns after ``error`` may be missing.

        Raises:
            KeyError, ValueError: a column is missing or is no number.
        """
        first_success = values.get("first_success", "")
        return cls(
            protocol=values["protocol"],
            task=values["task"],
            agent=values["agent"],
            seed=int(values["seed"]),
            success_any=bool(int(values["success_any"])),
            success_final=bool(int(values["success_final"])),
            return_=float(values["return"]),
            decisions=int(values["decisions"]),
            plan_seconds=float(values["plan_seconds"]),
            denoiser_calls=int(values["denoiser_calls"]),
            imagined_decisions=int(values["imagined_decisions"]),
            error=values["error"],
            first_success=int(first_success) if first_success else None,
            checkpoint=values.get("checkpoint", ""),
            device=values.get("device", ""),
        )


COLUMNS = tuple("return" if field.name == "return_" else field.name for field in dataclasses.fields(EpisodeRow))


class RowStore:
    """Rows of a run in a CSV file that only grows.

    Each row is written in one piece and synchronised before ``append`` returns, so a killed run keeps every finished
    episode. The file is created with the first row; a row torn by a crash is dropped when the file is next written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[EpisodeRow]:
        """All rows, oldest first; of an episode played twice, only the newest."""
        return list(newest(read_rows(self.path))) if self.path.exists() else []

    def append(self, row: EpisodeRow) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            _drop_torn_row(file)
            header = [] if file.tell() else [COLUMNS]
            file.write(_csv_text([*header, list(row.to_dict().values())]).encode())
            file.flush()
            os.fsync(file.fileno())


def _drop_torn_row(file: io.BufferedRandom) -> None:
    """Cut what follows the last line end, and leave the position at the end."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    if whole < size:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)


def _csv_text(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def read_rows(path: Path) -> list[EpisodeRow]:
    """Rows of a CSV file in file order, without a last row that a crash has torn.

    Raises:
        UserError: no such file, or not a file of rows.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"rows={str(path)!r} can't be read ({error.strerror}); give a CSV of episode rows") from None
    text = text[: text.rfind("\n") + 1]
    rows = []
    for number, values in enumerate(csv.DictReader(io.StringIO(text)), start=2):
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
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(path.name + ".tmp")
    staged.write_text(_csv_text([COLUMNS, *(list(row.to_dict().values()) for row in rows)]))
    os.replace(staged, path)


def merge(sources: Sequence[Path], into: Path) -> list[EpisodeRow]:
    """Add the rows of ``sources``, oldest first, to the file ``into`` and return all it holds now.

    Episodes are told apart by protocol, task, agent and seed: committed rows show one checkpoint per agent.

    Raises:
        UserError: rows of a protocol other than the one that ``into`` is named for.
    """
    rows = read_rows(into) if into.exists() else []
    for source in sources:
        rows += read_rows(source)
    for row in rows:
        if row.protocol != into.stem:
            raise UserError(
                f"into={str(into)!r} is for protocol {into.stem!r}, but a row is of {row.protocol!r}; merge those apart"
            )
    merged = {row.key[:4]: row for row in rows}
    ordered = [merged[key] for key in sorted(merged)]
    write_rows(into, ordered)
    return ordered


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.results"
    parser = argparse.ArgumentParser(prog=program, description="Keep committed rows.")
    verbs = parser.add_subparsers(required=True)
    merge_parser = verbs.add_parser("merge", help="add the rows of runs to a committed file; the newest row wins")
    merge_parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.csv", help="rows of runs, oldest first")
    merge_parser.add_argument("--into", required=True, type=Path, metavar="PROTOCOL.csv", help="the committed file")
    args = parser.parse_args(arguments)
    try:
        rows = merge(args.runs, args.into)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{args.into}: {len(rows)} episodes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
