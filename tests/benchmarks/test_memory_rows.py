"""The tables that rows of the memory benchmark become."""

from sfvgen_plan.benchmarks.memory.parts import PlayedRow, RevisitRow, rows_in
from sfvgen_plan.benchmarks.memory.tables import data
from sfvgen_plan.benchmarks.report.readme import block


def test_rows_become_tables_and_those_of_other_names_are_history(tmp_path):
    assert block("results", tmp_path) == "No results are committed yet."
    rows, returned, cue = (rows_in(tmp_path, name) for name in ("revisit", "return", "cue"))
    for row, better in (("no_memory", 0), ("temp_lora", 1), ("old", 2)):
        for episode in range(3):
            rows.add(RevisitRow(row, episode, 20 + 4 * better, 0.9))
            scores = (episode, 0.12 - 0.05 * better, episode < 3 * better)
            returned.add(PlayedRow(f"{row} video", *scores))
            for agent in ("prior", "default+futures=2"):
                cue.add(PlayedRow(f"{row} {agent}", *scores))
    quality, metres, colour = block("results", tmp_path).split("**Memory: ")[1:]
    said = colour
    assert "| temp_lora | 3 | 24.00 [24.00, 24.00] | 90.00" in quality
    assert quality.index("temp_lora") < quality.index("no_memory") and "old" not in quality
    assert "SCuts" not in quality, "no column for what could not be had"
    assert "| video | no_memory | 3 | 0.120 [0.120, 0.120] | 0 [" in metres
    assert colour.index("| default+futures=2 | temp_lora |") < colour.index("| prior | temp_lora | 3 |")
    assert "+4.00 [+4.00, +4.00] dB" in said and "-0.050 [-0.050, -0.050] metres" in said
    assert "`temp_lora prior` against `no_memory`: +100 [+100, +100] points" in said
    found = data(tmp_path)
    assert [line["row"] for line in found["revisit"]] == ["temp_lora", "no_memory"]
    assert found["return"][0]["success_5cm"]["mean"] == 1.0 and found["cost"] == []
