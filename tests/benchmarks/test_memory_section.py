"""The memory tables of the README."""

import csv

from sfvgen_plan.benchmarks.memory import cost as memory_cost
from sfvgen_plan.benchmarks.memory import drift as memory_drift
from sfvgen_plan.benchmarks.memory import settings as memory_settings
from sfvgen_plan.benchmarks.memory.rows import RETURN, REVISIT, VIDEO, MemoryRows
from sfvgen_plan.benchmarks.memory.section import memory_sections
from sfvgen_plan.benchmarks.report.readme import results_block
from sfvgen_plan.benchmarks.results.files import merge_measurements


def revisits(folder):
    rows, details, returned = (MemoryRows(folder, name) for name in (REVISIT, VIDEO, RETURN))
    for row, quality in (("full", 24.0), ("no_temp_lora", 20.0)):
        returned.claim(row, {"checkpoint": "c", "agent": "video"})
        for episode in range(3):
            rows.add(row, episode, {"psnr_revisit_db": quality, "cosine_revisit": 0.9, "scene_cuts": 1})
            details.add(row, episode, dict.fromkeys(details.columns[2:], 17.5) | {"lpips_revisit": None, "src": None})
            returned.add(row, episode, {"distance_m": 0.12, "success_5cm": episode == 0})


def test_what_is_not_there_is_left_out(tmp_path):
    assert memory_sections(tmp_path) == []
    assert results_block(tmp_path) == "No results are committed yet."


def test_rows_become_tables(tmp_path):
    revisits(tmp_path)
    quality, metres, said = memory_sections(tmp_path)
    assert "kept up: 17.50 dB" in quality and "| `full` | 3 | 24.00 [24.00, 24.00] | 90.00" in quality
    assert "LPIPS" not in quality, "no column for what could not be had"
    assert "agent `video`" in metres and "| `no_temp_lora` | 3 | 0.120 [0.120, 0.120] | 33 [" in metres
    assert "4.00 [4.00, 4.00] dB" in said and "a fifth): missed" in said
    assert quality in results_block(tmp_path)


def test_experiments_become_tables(tmp_path):
    settings = [
        memory_settings.Row("c", "3", memory, str(episode), str(value + episode), "15", "2")
        for memory, value in (("no_temp_lora", 20), ("full,steps=4", 21.5))
        for episode in range(2)
    ]
    merge_measurements(tmp_path / "memory_settings.csv", memory_settings.Row, memory_settings.KEY, settings)
    drift = [memory_drift.Row("full", str(episode), "100", str(20 + episode), "12", "1", "c") for episode in range(2)]
    merge_measurements(tmp_path / "memory_drift.csv", memory_drift.Row, ("row", "episode", "decision"), drift)
    cost = [
        memory_cost.Row("3", "no_temp_lora", "2", "100", "GPU"),
        memory_cost.Row("3", "full", "2.5", "104", "GPU"),
        memory_cost.Row("3", "full", "9", "", "CPU"),
    ]
    memory_cost.merge(tmp_path / "memory_cost.csv", cost)
    tried, long, price = memory_sections(tmp_path)
    assert "| `full,steps=4` | c | 3 | 22.00 | +1.50 [+1.50, +1.50] | 2.00 |" in tried
    assert tried.index("full,steps=4") < tried.index("no_temp_lora"), "the best first"
    assert "| `full` | 100 | 2 | 20.5 | 12.0 | 1.0 |" in long
    assert "| 3 | `full` | 2.5 | 104 | +25.0 % | +4.0 % | GPU |" in price
    assert "| 3 | `full` | 9 |  |  |  | CPU |" in price
    with (tmp_path / "memory_cost.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
