"""The result store: a row comes back as it was, an episode counts once, and nothing else is taken for a store."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from stored_rows import BROKEN, ROW, all_rows, seeds, store_with

from sfvgen_plan.benchmarks.results import EpisodeKey
from sfvgen_plan.benchmarks.results.store import SCHEMA_VERSION, Run, Store
from sfvgen_plan.errors import UserError


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    path = store_with(tmp_path / "new" / "all.sqlite", [ROW, dataclasses.replace(BROKEN, seed=4)])
    assert all_rows(path) == [ROW, dataclasses.replace(BROKEN, seed=4)]


def test_a_row_is_there_for_others_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        for row in seeds(3):
            assert store.append(row)
            assert all_rows(store.path)[-1] == row


def test_an_episode_counts_once(tmp_path: Path) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        assert store.append(ROW)
        assert not store.append(dataclasses.replace(ROW, run="r2", return_=5.0))
        assert store.rows() == [ROW]
        assert store.append(dataclasses.replace(ROW, checkpoint="def"))
        assert store.append(dataclasses.replace(ROW, protocol_hash="other"))
        assert store.count() == 3


def test_an_episode_that_broke_off_may_be_played_again_and_its_error_stays(tmp_path: Path) -> None:
    again = dataclasses.replace(BROKEN, error="Bang: still no", run="r2")
    with Store(tmp_path / "all.sqlite", create=True) as store:
        store.append(BROKEN)
        assert store.rows() == [BROKEN]
        store.append(again)
        assert store.rows() == [again]
        assert store.done(EpisodeKey("metaworld-10", "", "default", 0, "abc"), "0123456789ab") == set()
        store.append(ROW)
        assert store.rows() == [ROW]
        assert store.attempts() == [BROKEN, again, ROW]
        assert store.done(EpisodeKey("metaworld-10", "", "default", 0, "abc"), "0123456789ab") == {("reach-v3", 3)}


@pytest.mark.parametrize("change", [{"return_": float("nan")}, {"plan_seconds": float("inf")}, {"decisions": -1}])
def test_rows_that_make_no_sense_are_refused_and_nothing_of_the_batch_is_kept(
    change: dict[str, float], tmp_path: Path
) -> None:
    with Store(tmp_path / "all.sqlite", create=True) as store:
        with pytest.raises(UserError, match="makes no sense"):
            store.extend([*seeds(2), dataclasses.replace(ROW, **change)])  # type: ignore[arg-type]
        assert store.count() == 0
        assert store.append(ROW)


def test_runs_are_kept_with_their_record(tmp_path: Path) -> None:
    run = Run.new("default", "metaworld-10", "abc", {"settings": {"futures": 4}, "git_commit": None})
    with Store(tmp_path / "all.sqlite", create=True) as store:
        store.extend([dataclasses.replace(ROW, run=run.id)], [run])
        store.extend([], [run])
        assert store.runs() == [run]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"protocol,task\n" * 400, "no result store"),
        (b"", "something else"),
        (None, "doesn't exist"),
    ],
)
def test_files_of_something_else_are_refused(content: bytes | None, named: str, tmp_path: Path) -> None:
    path = tmp_path / "all.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=named):
        Store(path)
    assert content is None or path.read_bytes() == content


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(1))
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"schema {SCHEMA_VERSION + 1}, newer than {SCHEMA_VERSION}"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_may_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = store_with(tmp_path / "all.sqlite", seeds(2))
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert all_rows(path) == seeds(2)
    finally:
        tmp_path.chmod(0o755)
