"""Rows of one kind in a file: on disk at once, read again, never mixed."""

from dataclasses import dataclass

import pytest

from sfvgen_plan.benchmarks.results.files import Rows
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


def test_something_else_is_there(tmp_path):
    for text in ("a,b\n1,2\n", "name,episode,db,solved,cuts\na,1,none,0,\n"):
        (tmp_path / "measured.csv").write_text(text)
        with pytest.raises(UserError, match="line 2 is no Measured"):
            rows_in(tmp_path)
