"""Entries of others: a small JSON file and its rows, which have to bear out every figure in it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sfvgen_plan.benchmarks.protocols import Protocol, load_protocol
from sfvgen_plan.benchmarks.report.summary import grouped
from sfvgen_plan.benchmarks.results import EpisodeRow, read_rows, write_rows
from sfvgen_plan.benchmarks.results.store import Store
from sfvgen_plan.errors import UserError

FORMAT = "sfvgen-plan submission 1"
TOLERANCE = 1e-6


def write_submission(store: Store, agent: str, protocol: Protocol, path: Path, about: Mapping[str, str]) -> Path:
    """Write the entry of ``agent`` to ``path`` and its rows beside it; returns the file of rows.

    Args:
        store: where the rows are.
        agent: the agent's name in rows; it has to have one checkpoint.
        protocol: what it has played, all of it.
        path: a file that ends in .json.
        about: ``authors``, ``url``, ``description``, as far as known.

    Raises:
        UserError: another ending, or rows that are no complete entry.
    """
    if path.suffix != ".json":
        raise UserError(f"out={str(path)!r} should end in .json")
    found = store.rows(protocol.id)
    rows = [row for row in found if row.agent == agent and row.protocol_hash == protocol.rules_hash]
    checkpoints = {row.checkpoint for row in rows}
    if len(checkpoints) != 1:
        raise UserError(
            f"agent={agent!r} has rows with {len(checkpoints)} checkpoints under {protocol.id!r}; a submission is of "
            "one: give a store where it has one"
        )
    # As they will be read: with as many digits as the file keeps.
    rows = [EpisodeRow.from_dict(row.to_dict()) for row in sorted(rows, key=lambda row: row.key)]
    _check_complete(rows, protocol)
    name = re.sub(r"[^\w.+=-]+", "-", path.stem, flags=re.ASCII) + ".csv"
    write_rows(path.with_name(name), rows)
    entry = {
        "format": FORMAT,
        "agent": agent,
        "checkpoint": rows[0].checkpoint,
        "protocol": protocol.id,
        "protocol_hash": protocol.rules_hash,
        **{key: text for key, text in about.items() if text},
        "rows": {"file": name, "sha256": _sha256(path.with_name(name))},
        "aggregates": aggregates(rows),
    }
    staged = path.with_name(path.name + ".tmp")
    staged.write_text(json.dumps(entry, indent=1, ensure_ascii=False) + "\n")
    os.replace(staged, path)
    return path.with_name(name)


def check_submission(path: Path) -> tuple[dict[str, Any], list[EpisodeRow]]:
    """The entry in ``path`` and its rows, if everything in it follows from the rows.

    Raises:
        UserError: naming what is wrong: the form, an unknown protocol, its hash, the rows' hash or content, episodes
            that are missing or don't belong there, a figure that the rows don't give.
    """
    entry = _read(path)
    protocol = load_protocol(entry["protocol"])
    if entry["protocol_hash"] != protocol.rules_hash:
        raise UserError(
            f"submission={str(path)!r}: protocol_hash={entry['protocol_hash']!r}, but the rules of {protocol.id!r} "
            f"have {protocol.rules_hash!r} here; play under these rules"
        )
    file = path.with_name(entry["rows"]["file"])
    if not file.is_file():
        raise UserError(f"submission={str(path)!r}: rows file {file.name!r} is not beside it; add it")
    digest = _sha256(file)
    if digest != entry["rows"]["sha256"]:
        raise UserError(
            f"submission={str(path)!r}: sha256 of {file.name!r} is {digest}, not {entry['rows']['sha256']}; these are "
            "not the rows that it was made from"
        )
    rows = read_rows(file)
    for row in rows:
        for name in ("agent", "checkpoint", "protocol", "protocol_hash"):
            if getattr(row, name) != entry[name]:
                raise UserError(
                    f"submission={str(path)!r}: a row has {name}={getattr(row, name)!r}, not {entry[name]!r}"
                )
    _check_complete(rows, protocol)
    for name, claimed, found in _differences(entry["aggregates"], aggregates(rows)):
        raise UserError(f"submission={str(path)!r}: {name}={claimed!r}, but its rows give {found!r}")
    return entry, rows


def aggregates(rows: Sequence[EpisodeRow]) -> dict[str, Any]:
    """The figures of an entry."""
    decisions = max(1, sum(row.decisions for row in rows))
    return {
        "episodes": len(rows),
        "errors": sum(bool(row.error) for row in rows),
        "success_any": sum(row.success_any for row in rows) / len(rows),
        "success_final": sum(row.success_final for row in rows) / len(rows),
        "return": math.fsum(row.return_ for row in rows) / len(rows),
        "denoiser_calls_per_plan": sum(row.denoiser_calls for row in rows) / decisions,
        "imagined_decisions_per_plan": sum(row.imagined_decisions for row in rows) / decisions,
        "tasks": {
            task: {
                "episodes": len(found),
                "success_any": sum(row.success_any for row in found) / len(found),
                "success_final": sum(row.success_final for row in found) / len(found),
            }
            for task, found in sorted(grouped(rows, lambda row: row.task).items())
        },
    }


def _read(path: Path) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    try:
        entry = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise UserError(f"submission={str(path)!r} can't be read ({error.strerror}); give a JSON file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"submission={str(path)!r} is no JSON ({error})") from None
    schema = json.loads((resources.files(__package__) / "submission.schema.json").read_text())
    problem = next(iter(sorted(Draft202012Validator(schema).iter_errors(entry), key=lambda item: item.json_path)), None)
    if problem is not None:
        raise UserError(f"submission={str(path)!r}: {problem.json_path} {problem.message[:300]}")
    return entry


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no figure")


def _check_complete(rows: Sequence[EpisodeRow], protocol: Protocol) -> None:
    """UserError unless the rows are every episode of the protocol, once."""
    played = [(row.task, row.seed) for row in rows]
    wanted = {(task, seed) for task in protocol.tasks for seed in protocol.seeds}
    for what, some in (
        ("has twice", {item for item in played if played.count(item) > 1} if len(set(played)) < len(played) else set()),
        ("should not have", set(played) - wanted),
        ("lacks", wanted - set(played)),
    ):
        if some:
            task, seed = min(some)
            raise UserError(
                f"an entry under {protocol.id!r} is all of its {len(wanted)} episodes; this one {what} {len(some)} of "
                f"them, such as {task} seed {seed}"
            )


def _differences(claimed: Any, found: Any, name: str = "aggregates") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(claimed, dict) and isinstance(found, dict):
        for key in sorted(claimed.keys() | found.keys()):
            yield from _differences(claimed.get(key), found.get(key), f"{name}.{key}")
    elif claimed is None or found is None or not abs(claimed - found) <= TOLERANCE * max(1.0, abs(found)):
        yield name, claimed, found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
