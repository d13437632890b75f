"""Rows of the memory benchmark: on disk at once, never mixed, and the tables made of them."""

import pytest

from sfvgen_plan.benchmarks.memory.rows import COLUMNS, RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.tables import comparisons, data, memory_sections
from sfvgen_plan.benchmarks.report.readme import results_block
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
    again.add("full", 0, VALUES)
    assert MemoryRows(tmp_path, REVISIT).rows["full", 0]["cosine_revisit"] == 0.5, "the last line of an episode counts"
    lines = rows.path.read_text().splitlines()
    assert lines[:3] == [",".join(COLUMNS[REVISIT]), "no_temp_lora,1,20.12346,0.5,2", "full,0,20.12346,,2"]


def test_two_programs_measure_rows_of_one_folder(tmp_path):
    first, second = (MemoryRows(tmp_path, REVISIT) for _ in range(2))
    first.claim("full", {"checkpoint": "a"})
    second.claim("no_loop", {"checkpoint": "b"})
    first.add("full", 0, VALUES)
    second.add("no_loop", 0, VALUES)
    first.add("full", 1, VALUES)
    both = MemoryRows(tmp_path, REVISIT)
    assert list(both.rows) == [("full", 0), ("no_loop", 0), ("full", 1)]
    assert (both.settings("full"), both.settings("no_loop")) == ({"checkpoint": "a"}, {"checkpoint": "b"})


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


def test_rows_become_tables(tmp_path):
    assert memory_sections(tmp_path) == []
    assert results_block(tmp_path) == "No results are committed yet."
    rows, details, returned = (MemoryRows(tmp_path, name) for name in (REVISIT, VIDEO, RETURN))
    for row, better in (("no_temp_lora", 0), ("full", 1)):
        returned.claim(row, {"checkpoint": "c", "agent": "video"})
        for episode in range(3):
            rows.add(row, episode, {"psnr_revisit_db": 20 + 4 * better, "cosine_revisit": 0.9, "scene_cuts": 1})
            details.add(row, episode, dict.fromkeys(details.columns[2:], 17.5) | {"lpips_revisit": None, "src": None})
            returned.add(row, episode, {"distance_m": 0.12 - 0.1 * better, "success_5cm": episode < 3 * better})
    quality, same, metres, said = memory_sections(tmp_path)
    assert "copying the last frame shown: 17.50 [" in quality and "| full | 3 | 24.00 [24.00, 24.00] | 90.00" in quality
    assert quality.index("full") < quality.index("no_temp_lora"), "the order of the ablation"
    assert "LPIPS" not in quality and "17.50" in same, "no column for what could not be had"
    assert "agent video" in metres and "| no_temp_lora | 3 | 0.120 [0.120, 0.120] | 0 [" in metres
    assert "+4.00 [+4.00, +4.00] dB" in said and "-0.100 [-0.100, -0.100] metres" in said
    assert quality in results_block(tmp_path)
    assert len(comparisons(tmp_path)) == 4
    found = data(tmp_path, lambda row: {}, (RETURN,))
    assert found["consistency"] == [] and found["planning"][0]["success_5cm"]["mean"] == 1.0
