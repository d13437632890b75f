"""What a decision's length costs the experts, and the causes that are read from it."""

from __future__ import annotations

from dataclasses import replace

from stored_rows import ROW

from sfvgen_plan.benchmarks.experts import CASES, COLUMNS, measured, worst_tasks_section
from sfvgen_plan.benchmarks.results.summary import Summary


def records(task: str, *solved: tuple[int, int]) -> list[dict[str, str]]:
    """Of ten episodes, those solved within 200 and 500 raw steps for each of ``CASES``."""
    return [
        dict(zip(COLUMNS, map(str, (task, *case, 10, *counts)), strict=True))
        for case, counts in zip(CASES, solved, strict=True)
    ]


def test_looking_through_a_decision_solves_what_a_held_action_does_not() -> None:
    held, mean = (measured("handle-pull-side-v3", action, 5, episodes=1) for action in ("held", "mean"))
    assert (held["solved_500"], mean["solved_500"], mean["repeat"]) == (0, 1, 5)


def test_the_cause_follows_from_the_rows() -> None:
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
