"""Submissions: whatever is in them has to follow from their rows."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_rows import COMMITTED, PROTOCOL

from sfvgen_plan.benchmarks.results import EpisodeRow, read_rows, write_rows
from sfvgen_plan.benchmarks.results.submissions import check_submission, write_submission
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def rows() -> list[EpisodeRow]:
    """The committed ones."""
    return read_rows(COMMITTED / "metaworld-10.csv")


@pytest.fixture(scope="module")
def written(rows: list[EpisodeRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a submission: ``mine.json`` and its rows."""
    folder = tmp_path_factory.mktemp("submission")
    write_submission(rows, "random", PROTOCOL, folder / "mine.json", {"authors": "me", "url": ""})
    return folder


@pytest.fixture
def entry(written: Path, tmp_path: Path) -> Path:
    """The submission in a folder of one's own, to change."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "mine.json"


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def rewrite_rows(path: Path, edit: Callable[[list[Any]], list[Any]]) -> None:
    """Change the rows and make the hash fit, as somebody would who cheats with care."""
    rows = path.with_suffix(".csv")
    write_rows(rows, edit(read_rows(rows)))
    change(path, lambda document: document.update(sha256=hashlib.sha256(rows.read_bytes()).hexdigest()))


def test_what_was_written_is_borne_out(entry: Path) -> None:
    found, rows = check_submission(entry)
    assert (found.agent, found.authors, len(rows)) == ("random", "me", 200)
    assert found.figures["success_any"] == sum(row.success_any for row in rows) / 200


@pytest.mark.parametrize("path", ["success_any", "return", "episodes", "errors", "tasks.reach-v3.success_final"])
def test_every_figure_is_recomputed(path: str, entry: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place = document["figures"]
        for parent in parents:
            place = place[parent]
        place[last] = place[last] + 1 if isinstance(place[last], int) else min(1.0, place[last] + 0.01)

    change(entry, edit)
    with pytest.raises(UserError, match=rf"figures\.{path}=.*its rows give"):
        check_submission(entry)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda document: document.update(protocol_hash="0" * 12), "protocol_hash='000000000000'"),
        (lambda document: document.update(protocol="metaworld-11"), "metaworld-10"),
        (lambda document: document.update(agent="better"), "a row has agent='random', not 'better'"),
        (lambda document: document.update(extra=1), "extra"),
        (lambda document: document.pop("checkpoint"), "checkpoint"),
        (lambda document: document.update(sha256="0" * 64), "sha256"),
        (lambda document: document.update(rows="../all.csv"), "rows: "),
        (lambda document: document.update(rows="other.csv"), "not beside it"),
        (lambda document: document["figures"].update(success_any="1"), r"figures\.success_any"),
        (lambda document: document["figures"].update(success_any=float("nan")), r"figures\.success_any=nan"),
        (lambda document: document["figures"]["tasks"].pop("reach-v3"), "reach-v3"),
        (lambda document: document.update(url="javascript:alert(1)"), "url"),
        (lambda document: document.update(format="sfvgen-plan submission 9"), "format"),
    ],
)
def test_what_does_not_fit_is_named(edit: Callable[[dict[str, Any]], Any], named: str, entry: Path) -> None:
    change(entry, edit)
    with pytest.raises(UserError, match=named):
        check_submission(entry)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda rows: rows[:-1], "lacks 1"),
        (lambda rows: [*rows, rows[0]], "has twice 1"),
        (lambda rows: [replace(rows[0], seed=77), *rows[1:]], "should not have 1"),
        (lambda rows: [replace(rows[0], protocol_hash="0" * 12), *rows[1:]], "a row has protocol_hash"),
        (lambda rows: [replace(rows[0], return_=1e6), *rows[1:]], r"figures\.return"),
    ],
)
def test_rows_have_to_be_the_whole_protocol(edit: Callable[[list[Any]], list[Any]], named: str, entry: Path) -> None:
    rewrite_rows(entry, edit)
    with pytest.raises(UserError, match=named):
        check_submission(entry)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "null", "[" * 100_000])
def test_files_of_something_else_are_refused(text: str, entry: Path) -> None:
    entry.write_text(text)
    with pytest.raises(UserError, match="submission="):
        check_submission(entry)


def test_what_is_no_entry_is_not_written(rows: list[EpisodeRow], tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(UserError, match="0 checkpoints"):
        write_submission(rows, "nobody", PROTOCOL, path, {})
    with pytest.raises(UserError, match="lacks 10"):
        write_submission([row for row in rows if row.seed != 7], "random", PROTOCOL, path, {})
    with pytest.raises(UserError, match="url"):
        write_submission(rows, "random", PROTOCOL, path, {"url": "javascript:alert(1)"})
    with pytest.raises(UserError, match=r"\.json"):
        write_submission(rows, "random", PROTOCOL, tmp_path / "mine.txt", {})
    assert not path.exists()
