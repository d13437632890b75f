"""Files are whole or absent."""

import os

import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic, check_writable


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="broke off"), atomic(target) as staged:
        staged.write_text("half")
        raise RuntimeError("broke off")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_files_and_folders_are_replaced_as_a_whole(tmp_path):
    with atomic(tmp_path / "made" / "file") as staged:
        staged.write_text("new")
    assert (tmp_path / "made" / "file").read_text() == "new"
    for name in ("first", "second"):
        with atomic(tmp_path / "folder") as staged:
            staged.mkdir()
            (staged / name).write_text(name)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["second"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["folder", "made"]


@pytest.mark.parametrize("name", ["x" * 300, "file/inside"])
def test_what_cannot_be_written_is_told_in_one_line(tmp_path, name, monkeypatch):
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(UserError, match=r"out=.*can't be written to"), atomic(tmp_path / name, "out") as staged:
        staged.write_text("text")
    with pytest.raises(UserError, match=r"out=.*can't be written to"):
        check_writable(tmp_path / name, "out")
    check_writable(tmp_path / "file", "out"), check_writable(tmp_path / "new" / "folder", "out")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match="Permission denied"):
        check_writable(tmp_path / "file")
