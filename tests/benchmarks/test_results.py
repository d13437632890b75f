"""Rows: on disk at once, whole or not at all, newest wins."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from sfvgen_plan.benchmarks.results import COLUMNS, EpisodeRow, RowStore, main, merge, read_rows, write_rows
from sfvgen_plan.errors import UserError

ROW = EpisodeRow(
    protocol="metaworld-10",
    task="reach-v3",
    agent="default",
    seed=3,
    success_any=True,
    success_final=False,
    return_=101.25,
    decisions=17,
    plan_seconds=0.125,
    denoiser_calls=51,
    imagined_decisions=4096,
    first_success=12,
    checkpoint="abc",
    device="cpu",
)


def test_a_row_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "run" / "episodes.csv")
    for seed in range(3):
        row = dataclasses.replace(ROW, seed=seed)
        store.append(row)
        assert RowStore(store.path).read()[-1] == row
    assert len(store.read()) == 3


def test_the_columns_begin_as_agreed(tmp_path: Path) -> None:
    agreed = "protocol,task,agent,seed,success_any,success_final,return,decisions,plan_seconds,denoiser_calls"
    assert ",".join(COLUMNS).startswith(f"{agreed},imagined_decisions,error")
    RowStore(tmp_path / "episodes.csv").append(ROW)
    with (tmp_path / "episodes.csv").open() as file:
        (record,) = csv.DictReader(file)
    assert tuple(record) == COLUMNS
    assert (record["return"], record["success_any"], record["success_final"]) == ("101.2500", "1", "0")


def test_errors_with_commas_quotes_and_line_breaks_stay_one_line(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "episodes.csv")
    store.append(dataclasses.replace(ROW, error='ValueError: "a",\n b', first_success=None))
    assert store.path.read_text().count("\n") == 2
    assert store.read()[0].error == 'ValueError: "a", b'


def test_a_row_torn_by_a_crash_is_dropped_and_the_others_kept(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "episodes.csv")
    store.append(ROW)
    with store.path.open("a") as file:
        file.write("metaworld-10,reach-v3,def")
    assert store.read() == [ROW]
    store.append(dataclasses.replace(ROW, seed=4))
    assert [row.seed for row in store.read()] == [3, 4]


def test_a_torn_header_does_not_spoil_the_file(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "episodes.csv")
    store.path.write_text("protocol,ta")
    store.append(ROW)
    assert store.read() == [ROW]


def test_of_an_episode_played_twice_the_newest_row_counts(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "episodes.csv")
    store.append(dataclasses.replace(ROW, error="Boom: no"))
    store.append(ROW)
    assert store.read() == [ROW]


def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="line 2"):
        read_rows(path)
    with pytest.raises(UserError, match="missing"):
        read_rows(tmp_path / "missing.csv")


def test_merging_keeps_the_newest_row_of_each_episode_and_sorts(tmp_path: Path) -> None:
    into, run = tmp_path / "metaworld-10.csv", tmp_path / "run.csv"
    write_rows(into, [ROW, dataclasses.replace(ROW, seed=1)])
    retrained = dataclasses.replace(ROW, success_final=True, checkpoint="def")
    write_rows(run, [dataclasses.replace(ROW, agent="cem"), retrained])
    rows = merge([run], into)
    assert [(row.agent, row.seed, row.checkpoint) for row in rows] == [
        ("cem", 3, "abc"),
        ("default", 1, "abc"),
        ("default", 3, "def"),
    ]
    assert read_rows(into) == rows
    assert merge([run], into) == rows


def test_rows_of_another_protocol_are_not_merged(tmp_path: Path) -> None:
    run, into = tmp_path / "run.csv", tmp_path / "metaworld-50.csv"
    write_rows(run, [ROW])
    with pytest.raises(UserError, match="metaworld-10"):
        merge([run], into)
    assert not into.exists()


def test_the_merge_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, into = tmp_path / "run.csv", tmp_path / "new" / "metaworld-10.csv"
    write_rows(run, [ROW])
    assert main(["merge", str(run), "--into", str(into)]) == 0
    assert read_rows(into) == [ROW]
    assert main(["merge", str(tmp_path / "no.csv"), "--into", str(into)]) == 2
    assert "error: rows=" in capsys.readouterr().err
