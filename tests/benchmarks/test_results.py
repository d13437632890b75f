"""Rows and the CSV files that hold them."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from sfvgen_plan.benchmarks.results.import_export import main
from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeRow, merge, newest, read_rows, write_rows
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


def test_the_columns_begin_as_agreed(tmp_path: Path) -> None:
    agreed = "protocol,task,agent,seed,success_any,success_final,return,decisions,plan_seconds,denoiser_calls"
    assert ",".join(COLUMNS).startswith(f"{agreed},imagined_decisions,error,first_success,checkpoint,device")
    write_rows(tmp_path / "episodes.csv", [ROW])
    with (tmp_path / "episodes.csv").open() as file:
        (record,) = csv.DictReader(file)
    assert tuple(record) == COLUMNS
    assert (record["return"], record["success_any"], record["success_final"]) == ("101.2500", "1", "0")


def test_errors_with_commas_quotes_and_line_breaks_stay_one_line(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    write_rows(path, [dataclasses.replace(ROW, error='ValueError: "a",\n b', success_any=False, first_success=None)])
    assert path.read_text().count("\n") == 2
    assert read_rows(path)[0].error == 'ValueError: "a", b'


def test_a_row_torn_by_a_crash_is_dropped_with_a_word_and_the_others_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "episodes.csv"
    write_rows(path, [ROW])
    with path.open("a") as file:
        file.write("metaworld-10,reach-v3,def")
    assert read_rows(path) == [ROW]
    assert "episodes.csv has no end; it is left out" in caplog.text


def test_files_from_before_the_last_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    write_rows(path, [ROW])
    lines = [line.rsplit(",", 2)[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    assert lines[0].endswith(",checkpoint,device")
    assert read_rows(path) == [ROW]


def test_of_an_episode_played_twice_the_newest_row_counts() -> None:
    assert list(newest([dataclasses.replace(ROW, error="Boom: no"), ROW])) == [ROW]


@pytest.mark.parametrize(
    ("column", "text", "named"),
    [
        ("return", "nan", "not finite"),
        ("plan_seconds", "inf", "not finite"),
        ("success_any", "2", "neither 0 nor 1"),
        ("decisions", "-1", "negative"),
        ("seed", "", "invalid literal"),
        ("seed", "9" * 20, "too large"),
        ("first_success", "18", "outside the 17 decisions"),
        ("success_any", "0", "without success_any"),
        ("error", "Boom: no", "counts as a failure"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_their_line(
    column: str, text: str, named: str, tmp_path: Path
) -> None:
    good = dataclasses.replace(ROW, success_final=True).to_dict()
    path = tmp_path / "episodes.csv"
    lines = [",".join(COLUMNS), ",".join(good.values()), ",".join({**good, column: text}.values())]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=f"line 3 .*{named}"):
        read_rows(path)


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


def test_the_module_is_the_command(tmp_path: Path) -> None:
    run, into = tmp_path / "run.csv", tmp_path / "metaworld-10.csv"
    write_rows(run, [ROW])
    command = [sys.executable, "-m", "sfvgen_plan.benchmarks.results", "merge", str(run), "--into", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{into}: 1 episodes\n"
    assert read_rows(into) == [ROW]
