"""The measurement of a large store, on a small one."""

import csv

from sfvgen_plan.benchmarks import scale


def test_times_are_stored_as_rows(tmp_path, capsys):
    out = tmp_path / "speed.csv"
    assert scale.main(["--rows", "300", "--agents", "3", "--store", str(tmp_path / "s.sqlite"), "--out", str(out)]) == 0
    rows = {row["name"]: row for row in csv.DictReader(out.open())}
    assert list(rows) == ["leaderboard_of_300_rows", "report_of_300_rows", "report_size_of_300_rows"]
    assert all(float(row["value"]) > 0 for row in rows.values())
    assert rows["report_of_300_rows"]["command"] == "python -m sfvgen_plan.benchmarks.scale --rows 300"
    assert '"rows": 300' in capsys.readouterr().out
