"""Rows in files: CSV, committed ones, and rows of one kind of which the newest of a key counts."""

import csv
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from stored_rows import BROKEN, COMMITTED, ROW, seeds, store_with

from sfvgen_plan.benchmarks.protocols import load_protocol
from sfvgen_plan.benchmarks.results import files
from sfvgen_plan.benchmarks.results.__main__ import main, merge
from sfvgen_plan.benchmarks.results.files import Rows
from sfvgen_plan.benchmarks.results.row import COLUMNS, EpisodeRow, settled
from sfvgen_plan.benchmarks.results.store import read
from sfvgen_plan.errors import UserError


@dataclass(frozen=True)
class Measured:
    name: str
    episode: int
    db: float
    solved: bool = False
    cuts: int | None = None


def rows_in(folder):
    return Rows(folder / "measured.csv", Measured, ("name", "episode"))


def test_rows_are_on_disk_at_once_and_the_newest_of_a_key_counts(tmp_path):
    rows = rows_in(tmp_path / "new")
    rows.add(Measured("a, b", 1, 20.12346, True))
    rows.add(Measured("c", 0, 0.5, cuts=2))
    again = rows_in(tmp_path / "new")
    assert list(again) == list(rows)
    assert again.get("c", 0) == Measured("c", 0, 0.5, cuts=2) and again.get("c", 1) is None
    again.add(Measured("c", 0, 1.0))
    assert [row.db for row in rows_in(tmp_path / "new")] == [20.12346, 1.0]
    lines = rows.path.read_text().splitlines()
    assert lines == ["name,episode,db,solved,cuts", '"a, b",1,20.12346,1,', "c,0,1,0,"]


def test_rows_made_otherwise_are_not_mixed(tmp_path):
    rows = rows_in(tmp_path)
    rows.claim("a", {"checkpoint": "x"})
    rows.add(Measured("a", 0, 1.0))
    again = rows_in(tmp_path)
    again.claim("b", {"checkpoint": "y"})
    again.claim("a", {"checkpoint": "x"})
    with pytest.raises(UserError, match=r"'a' with checkpoint='x', not checkpoint='y'"):
        again.claim("a", {"checkpoint": "y"})
    assert rows_in(tmp_path).made_with("b") == {"checkpoint": "y"}
    with pytest.raises(UserError, match="rows with"):
        again.claim("", {"checkpoint": "x"})
    again.path.write_text("name,episode,db,solved,cuts\na,1,none,0,\n")
    with pytest.raises(UserError, match="line 2 is no Measured"):
        rows_in(tmp_path)


read_rows = partial(files.read_rows, kind=EpisodeRow)
write_rows = partial(files.write_rows, kind=EpisodeRow)
SHORT = replace(ROW, return_=101.25, plan_seconds=0.125)
"""A row that a CSV file keeps all digits of."""


@pytest.mark.parametrize("file", sorted(path.name for path in COMMITTED.glob("*-*.csv")))
def test_committed_rows_are_read_and_written_as_they_are(file, tmp_path):
    rows = read_rows(COMMITTED / file)
    write_rows(tmp_path / file, rows)
    assert (tmp_path / file).read_text() == (COMMITTED / file).read_text()
    assert {row.protocol_hash for row in rows} == {load_protocol(Path(file).stem).rules_hash}


NONSENSE = [
    ({"return": "nan"}, "return='nan': .*finite"),
    ({"plan_seconds": "inf"}, "finite"),
    ({"success_any": "2"}, "boolean"),
    ({"decisions": "-1"}, "greater than or equal to 0"),
    ({"seed": ""}, "required"),
    ({"seed": "9" * 20}, "less than"),
    ({"first_success": "18"}, "outside the 17 decisions"),
    ({"success_any": "0", "success_final": "1", "first_success": ""}, "without success_any"),
    ({"error": "Boom: no"}, "counts as a failure"),
]


@pytest.mark.parametrize(("change", "named"), NONSENSE)
def test_rows_that_make_no_sense_are_refused_with_their_line(change, named, tmp_path):
    path = tmp_path / "episodes.csv"
    write_rows(path, [SHORT, SHORT])
    with path.open() as file:
        good, bad = csv.DictReader(file)
    with path.open("w") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([good, {**bad, **change}])
    with pytest.raises(UserError, match=f"line 3 .*{named}"):
        read_rows(path)


def test_files_of_something_else_are_refused_with_their_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"line 2 .*protocol=None: Field required"):
        read_rows(tmp_path / "x.csv")
    write_rows(tmp_path / "torn.csv", [ROW])
    with (tmp_path / "torn.csv").open("a") as file:
        file.write("metaworld-10,reach-v3,def")
    with pytest.raises(UserError, match="line 3"):
        read_rows(tmp_path / "torn.csv")
    assert read_rows(tmp_path / "missing.csv") == []


def test_merging_into_a_csv_keeps_the_newest_row_of_each_episode_sorts_and_refuses_other_rules(tmp_path):
    into, run = tmp_path / "metaworld-10.csv", tmp_path / "run.csv"
    write_rows(into, [SHORT, replace(SHORT, seed=1)])
    write_rows(run, [replace(SHORT, agent="cem"), replace(SHORT, success_final=True, checkpoint="def")])
    rows = merge([run], into)
    assert settled([BROKEN, ROW, replace(ROW, decisions=20, run="r2")]) == [ROW]  # of an episode played twice
    assert settled([BROKEN, replace(BROKEN, run="r2")]) == [replace(BROKEN, run="r2")]
    found = [(row.agent, row.seed, row.checkpoint) for row in rows]
    assert found == [("cem", 3, "abc"), ("default", 1, "abc"), ("default", 3, "def")]
    assert read_rows(into) == merge([run], into) == rows
    other = tmp_path / "metaworld-50.csv"
    with pytest.raises(UserError, match="metaworld-10"):
        merge([run], other)
    write_rows(run, [ROW, replace(ROW, seed=4, protocol_hash="other")])
    with pytest.raises(UserError, match="other rules of the same name"):
        merge([run], into)
    assert read_rows(into) == rows and not other.exists()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("rows.sqlite", b"x" * 5000, "no result store"),
        ("rows.csv", b"\xff\xfe", "no text"),
        ("rows.csv", b"a,b\n1,2\n", "line 2"),
    ],
)
def test_sources_of_something_else_are_one_line_and_add_nothing(name, content, named, tmp_path, capsys):
    good, into = store_with(tmp_path / "good.sqlite", seeds(2)), tmp_path / "metaworld-10.csv"
    (tmp_path / name).write_bytes(content)
    assert main(["merge", str(good), str(tmp_path / name), "--into", str(into)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line and named in line
    assert not into.exists()


def test_a_folder_of_results_is_everything_in_it(tmp_path):
    store_with(tmp_path / "run" / "results.sqlite", seeds(2))
    write_rows(tmp_path / "old" / "episodes.csv", seeds(1, start=5))
    write_rows(tmp_path / "metaworld-10.csv", seeds(1, start=6))
    (tmp_path / "speed.csv").write_text("name,value\n")
    (tmp_path / "notes").mkdir()
    assert [row.seed for row in read([tmp_path])] == [6, 5, 0, 1]
