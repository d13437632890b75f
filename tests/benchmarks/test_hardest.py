"""The causes that are read from what the experts solve."""

from dataclasses import replace

from stored_rows import ROW

from sfvgen_plan.benchmarks.report.hardest import CASES, worst_tasks_section
from sfvgen_plan.benchmarks.results.summary import Summary

COLUMNS = ("task", "action", "repeat", "episodes", "solved_200", "solved_500")


def records(task, *solved):
    """Of ten episodes, those solved within 200 and 500 raw steps for each of ``CASES``."""
    return [
        dict(zip(COLUMNS, map(str, (task, *case, 10, *counts)), strict=True))
        for case, counts in zip(CASES, solved, strict=True)
    ]


def test_the_cause_follows_from_the_rows():
    good = ((10, 10),) * 6
    rows = records("reach-v3", *good) + records("push-v3", *good[:4], (1, 3), (7, 10))
    line = next(line for line in worst_tasks_section(rows).splitlines() if line.startswith("| push-v3"))
    assert line == (
        "| push-v3 | 100 | 30 | 100 | 70 | an action held for five raw steps overshoots; the mean doesn't, "
        "takes more than 200 raw steps in some scenes |"
    )
    failed = replace(ROW, agent="prior", task="reach-v3", success_any=False, success_final=False, first_success=None)
    section = worst_tasks_section(rows, Summary([failed, replace(failed, task="push-v3", success_any=True)]))
    assert "| reach-v3 | 100 | 100 | 100 | 100 | 0 | the model: its expert can |" in section
    assert section.index("| reach-v3") < section.index("| push-v3")
