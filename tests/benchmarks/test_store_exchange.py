"""Rows between stores and files: brought in, merged, exported."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from stored_rows import BROKEN, ROW, seeds, store_with

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results import read_rows, write_rows
from sfvgen_plan.benchmarks.results.import_export import bring_in, combined, export, main, read_source, sources_in
from sfvgen_plan.benchmarks.results.store import Run, Store
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_what_is_exported_can_be_brought_in(suffix: str, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    rows = [dataclasses.replace(row, return_=0.5, plan_seconds=0.25) for row in seeds(3)]
    rows.append(dataclasses.replace(BROKEN, seed=9, return_=0.5, plan_seconds=0.25))
    run = Run.new("default", "metaworld-10", "abc", {"settings": {}, "protocol": "metaworld-10", "agent": "default"})
    with Store(tmp_path / "a.sqlite", create=True) as store:
        store.extend(rows, [run])
        assert export(store, tmp_path / f"rows{suffix}") == 4
    with Store(tmp_path / "b.sqlite", create=True) as store:
        result = bring_in(store, [tmp_path / f"rows{suffix}"])
        assert (result.added, result.known) == (4, 0)
        assert store.rows() == rows
        assert [found.id for found in store.runs()] == ([run.id] if suffix == ".json" else [])


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "a.sqlite", create=True) as store, pytest.raises(UserError, match=r"\.csv, \.json"):
        export(store, tmp_path / "rows.xlsx")


def test_stores_merge_without_doubling_and_say_what_differs(tmp_path: Path) -> None:
    first = store_with(tmp_path / "a.sqlite", [*seeds(3), dataclasses.replace(BROKEN, seed=9)])
    other = [dataclasses.replace(row, run="elsewhere") for row in seeds(3, start=2)]
    second = store_with(tmp_path / "b.sqlite", [dataclasses.replace(other[0], decisions=99), *other[1:]])
    with Store(tmp_path / "all.sqlite", create=True) as store:
        assert dataclasses.astuple(bring_in(store, [first, second])) == (6, 1, 1)
        assert dataclasses.astuple(bring_in(store, [first, second])) == (0, 7, 1)
        assert [row.seed for row in store.rows()] == [0, 1, 2, 9, 3, 4]
        assert store.rows()[2] == seeds(3)[2]


def test_committed_rows_can_be_brought_in_and_get_the_hash_of_their_protocol(tmp_path: Path) -> None:
    committed = Path(__file__).resolve().parents[2] / "benchmarks" / "rows" / "metaworld-10.csv"
    with Store(tmp_path / "all.sqlite", create=True) as store:
        result = bring_in(store, [committed])
        assert result.added == len(read_rows(committed)) > 0
        assert {row.protocol_hash for row in store.rows()} == {load_protocol("metaworld-10").rules_hash}


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("cut.parquet", b"PAR1 and then nothing", "can't be read"),
        ("empty.parquet", b"", "can't be read"),
        ("latin.csv", b"protocol,task,agent,seed,success_any,\xff\n", "it is no text"),
        ("deep.json", b"[" * 100_000, "no export of results"),
        ("cut.json", b'{"format": "sfvgen-plan res', "no export of results"),
    ],
)
def test_files_that_can_not_be_read_are_one_line(
    name: str, content: bytes, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    assert main(["merge", str(tmp_path / name), "--into", str(tmp_path / "all.sqlite")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line and named in line
    with pytest.raises(UserError, match=named), combined(sources_in(tmp_path / name)):
        pass


def test_places_that_can_not_be_written_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(store_with(tmp_path / "a.sqlite", seeds(2)))
    (tmp_path / "file").touch()
    for name in ("rows.csv", "rows.json"):
        assert main(["export", store, str(tmp_path / "file" / name)]) == 2
    assert main(["merge", store, "--into", str(tmp_path / "file" / "metaworld-10.csv")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all("file' can't be written" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 10**30}, "too large"), ({"agent": "\ud800"}, "surrogates"), ({"return": 10**400}, "not finite")],
)
def test_values_that_no_store_can_hold_are_refused_with_their_row(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with Store(tmp_path / "a.sqlite", create=True) as store:
        store.extend(seeds(2))
        export(store, tmp_path / "rows.json")
        document = json.loads((tmp_path / "rows.json").read_text())
        document["rows"][1].update(change)
        (tmp_path / "rows.json").write_text(json.dumps(document))
        with pytest.raises(UserError, match=f"row 2 .*{named}"):
            bring_in(store, [tmp_path / "rows.json"])
        assert store.count() == 2


def test_a_source_with_a_bad_row_adds_nothing(tmp_path: Path) -> None:
    write_rows(tmp_path / "bad.csv", [ROW, dataclasses.replace(ROW, seed=4, return_=float("nan"))])
    with Store(tmp_path / "all.sqlite", create=True) as store:
        with pytest.raises(UserError, match="line 3"):
            bring_in(store, [tmp_path / "bad.csv"])
        assert store.count() == 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, into = store_with(tmp_path / "run" / "results.sqlite", seeds(40)), tmp_path / "all.sqlite"
    assert main(["merge", str(run.parent), "--into", str(into)]) == 0
    assert "40 rows, 40 of them new" in capsys.readouterr().out
    assert main(["merge", str(run), "--into", str(tmp_path / "metaworld-10.csv")]) == 0
    assert len(read_rows(tmp_path / "metaworld-10.csv")) == len(read_source(run)) == 40
    assert main(["export", str(into), str(tmp_path / "rows.json")]) == 0
