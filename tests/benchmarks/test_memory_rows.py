"""Rows of the memory benchmark: on disk at once, never mixed, and what they say of the targets."""

import pytest

from sfvgen_plan.benchmarks.memory.rows import COLUMNS, RETURN, REVISIT, MemoryRows
from sfvgen_plan.benchmarks.memory.tables import distances, verdicts
from sfvgen_plan.errors import UserError

VALUES = {"psnr_revisit_db": 20.123456, "cosine_revisit": 0.5, "scene_cuts": 2}


def test_rows_are_on_disk_at_once_and_read_again(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.add("no_temp_lora", 1, VALUES)
    rows.add("full", 0, {**VALUES, "cosine_revisit": None})
    again = MemoryRows(tmp_path, REVISIT)
    assert again.rows == rows.rows
    assert again.values("full", "cosine_revisit") == {}
    assert again.missing("full", range(2)) == [1]
    assert again.missing("full", range(2), ["cosine_revisit"]) == [0, 1]
    again.sort()
    lines = rows.path.read_text().splitlines()
    assert lines == [",".join(COLUMNS[REVISIT]), "full,0,20.12346,,2", "no_temp_lora,1,20.12346,0.5,2"]


def test_a_torn_line_is_dropped(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.add("full", 0, VALUES)
    rows.add("full", 1, VALUES)
    rows.path.write_text(rows.path.read_text()[:-9])
    again = MemoryRows(tmp_path, REVISIT)
    assert list(again.rows) == [("full", 0)]
    again.add("full", 1, VALUES)
    assert MemoryRows(tmp_path, REVISIT).rows == rows.rows


def test_rows_made_otherwise_are_not_mixed(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.claim("full", {"checkpoint": "a", "encoder": None})
    rows.add("full", 0, VALUES)
    again = MemoryRows(tmp_path, REVISIT)
    again.claim("no_loop", {"checkpoint": "b", "encoder": None})
    again.claim("full", {"checkpoint": "a", "encoder": "now"})
    with pytest.raises(UserError, match=r"checkpoint=a.*checkpoint=b"):
        again.claim("full", {"checkpoint": "b", "encoder": "now"})


def test_something_else_is_there(tmp_path):
    (tmp_path / "memory_return.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="can't be used"):
        MemoryRows(tmp_path, RETURN)


def test_targets(tmp_path):
    rows, returned = MemoryRows(tmp_path, REVISIT), MemoryRows(tmp_path, RETURN)
    for episode in range(3):
        rows.add("full", episode, {"psnr_revisit_db": 25.0, "cosine_revisit": 0.9, "scene_cuts": 0})
        rows.add("no_temp_lora", episode, {"psnr_revisit_db": 21.0, "cosine_revisit": 0.88, "scene_cuts": 2})
        returned.add("full", episode, {"distance_m": 0.03, "success_5cm": True})
        returned.add("no_temp_lora", episode, {"distance_m": 0.2, "success_5cm": False})
    quality, cuts, metres = verdicts(rows, returned)
    assert "4.00 [4.00, 4.00] dB, 2.00 [2.00, 2.00] points" in quality
    assert quality.endswith("met") and cuts.endswith("met") and metres.endswith("missed")
    for episode in range(3):  # nothing to cut to a fifth
        rows.add("no_temp_lora", episode, {"psnr_revisit_db": 21.0, "cosine_revisit": 0.88, "scene_cuts": 0})
    assert verdicts(rows, returned)[1].endswith("0.00 without (target: a fifth): nothing to tell them apart by")
    full, without = distances(returned)
    assert full["distance_m"].mean == pytest.approx(0.03)
    assert (full["success_5cm"].mean, without["success_5cm"].mean) == (1.0, 0.0)
