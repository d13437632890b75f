"""Rows of the memory benchmark: on disk at once, never mixed, and the tables made of them."""

import pytest

from sfvgen_plan.benchmarks.memory.rows import COLUMNS, CUE, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.tables import data, memory_sections
from sfvgen_plan.errors import UserError

VALUES = {"psnr_revisit_db": 20.123456, "cosine_revisit": 0.5, "scene_cuts": 2}


def test_rows_are_on_disk_at_once_and_read_again(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.add("no_memory", 1, VALUES)
    rows.add("temp_lora", 0, {**VALUES, "cosine_revisit": None})
    again = MemoryRows(tmp_path, REVISIT)
    assert again.rows == rows.rows
    assert again.values("temp_lora", "cosine_revisit") == {}
    assert again.missing("temp_lora", range(2)) == [1]
    assert again.missing("temp_lora", range(2), ["cosine_revisit"]) == [0, 1]
    again.add("temp_lora", 0, VALUES)
    assert MemoryRows(tmp_path, REVISIT).rows["temp_lora", 0]["cosine_revisit"] == 0.5, (
        "the last line of an episode counts"
    )
    lines = rows.path.read_text().splitlines()
    assert lines[:3] == [",".join(COLUMNS[REVISIT]), "no_memory,1,20.12346,0.5,2", "temp_lora,0,20.12346,,2"]


def test_a_torn_line_is_dropped(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.add("temp_lora", 0, VALUES)
    rows.add("temp_lora", 1, VALUES)
    rows.path.write_text(rows.path.read_text()[:-9])
    again = MemoryRows(tmp_path, REVISIT)
    assert list(again.rows) == [("temp_lora", 0)]
    again.add("temp_lora", 1, VALUES)
    assert MemoryRows(tmp_path, REVISIT).rows == rows.rows


def test_rows_made_otherwise_are_not_mixed(tmp_path):
    rows = MemoryRows(tmp_path, REVISIT)
    rows.claim("temp_lora", {"checkpoint": "a", "encoder": None})
    rows.add("temp_lora", 0, VALUES)
    again = MemoryRows(tmp_path, REVISIT)
    again.claim("no_memory", {"checkpoint": "b", "encoder": None})
    again.claim("temp_lora", {"checkpoint": "a", "encoder": "now"})
    with pytest.raises(UserError, match=r"checkpoint=a.*checkpoint=b"):
        again.claim("temp_lora", {"checkpoint": "b", "encoder": "now"})


def test_something_else_is_there(tmp_path):
    (tmp_path / "memory_return.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="can't be used"):
        MemoryRows(tmp_path, RETURN)


def test_rows_become_tables_and_those_of_other_names_are_history(tmp_path):
    assert memory_sections(tmp_path) == []
    rows, details, returned, cue = (MemoryRows(tmp_path, name) for name in (REVISIT, VIDEO, RETURN, CUE))
    for row, better in (("no_memory", 0), ("temp_lora", 1), ("old", 2)):
        for episode in range(3):
            rows.add(row, episode, {"psnr_revisit_db": 20 + 4 * better, "cosine_revisit": 0.9, "scene_cuts": 1})
            details.add(row, episode, dict.fromkeys(details.columns[2:], 17.5) | {"lpips_revisit": None, "src": None})
            scores = {"distance_m": 0.12 - 0.05 * better, "success_5cm": episode < 3 * better}
            returned.add(f"{row} video", episode, scores)
            for agent in ("prior", "default+futures=2"):
                cue.add(f"{row} {agent}", episode, scores)
    quality, metres, colour, said = memory_sections(tmp_path)
    assert "| temp_lora | 3 | 24.00 [24.00, 24.00] | 17.50 [17.50, 17.50] | 90.00" in quality
    assert quality.index("temp_lora") < quality.index("no_memory") and "old" not in quality
    assert "LPIPS" not in quality, "no column for what could not be had"
    assert "| video | no_memory | 3 | 0.120 [0.120, 0.120] | 0 [" in metres
    assert colour.index("| default+futures=2 | temp_lora |") < colour.index("| prior | temp_lora | 3 |")
    assert "+4.00 [+4.00, +4.00] dB" in said and "-0.050 [-0.050, -0.050] metres" in said
    assert "`temp_lora prior` against `no_memory`: +100 [+100, +100] points" in said
    found = data(tmp_path)
    assert [line["row"] for line in found["revisit"]] == ["temp_lora", "no_memory"]
    assert found["return"][0]["success_5cm"]["mean"] == 1.0 and found["cost"] == []
