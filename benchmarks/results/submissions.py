"""Entries of others: a small JSON file and its rows, which have to bear out every figure in it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sfvgen_plan.benchmarks.protocols import Protocol, load_protocol
from sfvgen_plan.benchmarks.results.files import write_text
from sfvgen_plan.benchmarks.results.row import EpisodeRow, read_rows, write_rows
from sfvgen_plan.benchmarks.results.summary import Summary
from sfvgen_plan.errors import UserError

TOLERANCE = 1e-6


class Entry(BaseModel):
    """What a submission says; ``description`` is the place for training data and whatever else a reader should know.

    ``rows`` is a CSV file in the folder of the entry, with its ``sha256``; ``figures`` are those of ``figures_of``.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["sfvgen-plan submission 2"] = "sfvgen-plan submission 2"
    agent: Annotated[str, Field(max_length=120, pattern=r"^[^\x00-\x1f]+$")]
    checkpoint: Annotated[str, Field(max_length=64)]
    protocol: str
    protocol_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    authors: Annotated[str, Field(max_length=500)] = ""
    url: Annotated[str, Field(max_length=500, pattern=r"^(https?://.*)?$")] = ""
    description: Annotated[str, Field(max_length=2000)] = ""
    rows: Annotated[str, Field(pattern=r"^[\w.+=-]+\.csv$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    figures: dict[str, Any]


def write_submission(
    rows: Sequence[EpisodeRow], agent: str, protocol: Protocol, path: Path, about: Mapping[str, Any]
) -> Path:
    """Write the entry of ``agent`` to ``path`` and its rows beside it; returns the file of rows.

    Args:
        rows: of any agents.
        agent: the agent's name in rows; it has to have one checkpoint.
        protocol: what it has played, all of it.
        path: a file that ends in .json.
        about: ``authors``, ``url``, ``description``, as far as known.

    Raises:
        UserError: another ending, rows that are no complete entry, or a text about it that is too long.
    """
    if path.suffix != ".json":
        raise UserError(f"out={str(path)!r} should end in .json")
    rules = (protocol.id, protocol.rules_hash)
    own = [row for row in rows if row.agent == agent and (row.protocol, row.protocol_hash) == rules]
    checkpoints = {row.checkpoint for row in own}
    if len(checkpoints) != 1:
        raise UserError(
            f"agent={agent!r} has rows with {len(checkpoints)} checkpoints under {protocol.id!r}; a submission is of "
            "one: give a store where it has one"
        )
    check_complete(own, protocol)
    file = path.with_name(re.sub(r"[^\w.+=-]+", "-", path.stem, flags=re.ASCII) + ".csv")
    write_rows(file, sorted(own, key=lambda row: row.key))
    try:
        entry = Entry(
            agent=agent,
            checkpoint=checkpoints.pop(),
            protocol=protocol.id,
            protocol_hash=protocol.rules_hash,
            **about,
            rows=file.name,
            sha256=_sha256(file),
            figures=figures_of(read_rows(file)),  # with as many digits as the file keeps
        )
    except ValidationError as error:
        raise UserError(f"out={str(path)!r}: {_problem(error)}") from None
    write_text(path, entry.model_dump_json(indent=1) + "\n")
    return file


def check_submission(path: Path) -> tuple[Entry, list[EpisodeRow]]:
    """The entry in ``path`` and its rows, if everything in it follows from the rows.

    Raises:
        UserError: naming what is wrong: the form, an unknown protocol, its hash, the rows' hash or content, episodes
            that are missing or don't belong there, a figure that the rows don't give.
    """

    def wrong(what: str) -> UserError:
        return UserError(f"submission={str(path)!r}: {what}")

    try:
        entry = Entry.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"submission={str(path)!r} can't be read ({error.strerror}); give a JSON file") from None
    except ValidationError as error:
        raise wrong(_problem(error)) from None
    protocol = load_protocol(entry.protocol)
    if entry.protocol_hash != protocol.rules_hash:
        raise wrong(
            f"protocol_hash={entry.protocol_hash!r}, but the rules of {protocol.id!r} have {protocol.rules_hash!r} "
            "here; play under these rules"
        )
    file = path.with_name(entry.rows)
    if not file.is_file():
        raise wrong(f"rows file {file.name!r} is not beside it; add it")
    if _sha256(file) != entry.sha256:
        raise wrong(f"sha256 of {file.name!r} is {_sha256(file)}; these are not the rows that it was made from")
    rows = read_rows(file)
    for row in rows:
        for name in ("agent", "checkpoint", "protocol", "protocol_hash"):
            if getattr(row, name) != getattr(entry, name):
                raise wrong(f"a row has {name}={getattr(row, name)!r}, not {getattr(entry, name)!r}")
    check_complete(rows, protocol)
    for name, claimed, found in _differences(entry.figures, figures_of(rows)):
        raise wrong(f"{name}={claimed!r}, but its rows give {found!r}")
    return entry, rows


def figures_of(rows: Sequence[EpisodeRow]) -> dict[str, Any]:
    """The figures of an entry: those of all episodes, and of each task."""
    summary = Summary(rows)
    tasks = {task: own.figures() for task, own in sorted(summary.by_task.items())}
    return {**summary.figures(), "tasks": tasks}


def check_complete(rows: Sequence[EpisodeRow], protocol: Protocol) -> None:
    """UserError unless the rows are every episode of the protocol, once."""
    played = Counter((row.task, row.seed) for row in rows)
    wanted = {(task, seed) for task in protocol.tasks for seed in protocol.seeds}
    for what, some in (
        ("has twice", {episode for episode, times in played.items() if times > 1}),
        ("should not have", played.keys() - wanted),
        ("lacks", wanted - played.keys()),
    ):
        if some:
            task, seed = min(some)
            raise UserError(
                f"an entry under {protocol.id!r} is all of its {len(wanted)} episodes; this one {what} {len(some)} of "
                f"them, such as {task} seed {seed}"
            )


def _differences(claimed: Any, found: Any, name: str = "figures") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(claimed, dict) and isinstance(found, dict):
        for key in sorted(claimed.keys() | found.keys()):
            yield from _differences(claimed.get(key), found.get(key), f"{name}.{key}")
    elif not (_is_number(claimed) and _is_number(found) and abs(claimed - found) <= TOLERANCE * max(1, abs(found))):
        yield name, claimed, found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
