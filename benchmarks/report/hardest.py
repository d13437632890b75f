"""The tasks of Metaworld that are solved least, and whether the decision, the limit, the script or the model is why.

``experts.csv`` has what Metaworld's scripts solve in the true simulator on development seeds: their action at every raw
step, held for a decision of 2 to 5 (``held``), and the mean of five (``mean``), which ``MetaworldExpert`` answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfvgen_plan.benchmarks.report.markdown import markdown
from sfvgen_plan.benchmarks.results.summary import Summary

FILE = "experts.csv"

CASES = (("held", 1), ("held", 2), ("held", 3), ("held", 4), ("held", 5), ("mean", 5))
SHORT, LONG = 200, 500
"""Raw steps; rows count the episodes that were solved at any time within each."""

WORST = 10


def worst_tasks_section(records: Sequence[Mapping[str, str]], agent: Summary | None = None) -> str:
    """The tasks that are solved least, by ``agent`` where there is one, else by the expert's held action, and why."""
    share = {
        (row["task"], row["action"], int(row["repeat"]), limit): int(row[f"solved_{limit}"]) / int(row["episodes"])
        for row in records
        for limit in (SHORT, LONG)
    }
    tasks = list(dict.fromkeys(row["task"] for row in records))
    own = {task: summary.success_any.mean for task, summary in agent.by_task.items()} if agent else {}

    def solved(task: str) -> float:
        return own.get(task, 1.0) if own else share[task, "held", 5, SHORT]

    def cause(task: str) -> str:
        each, held, mean, early = (
            share[task, *case] for case in (("held", 1, LONG), ("held", 5, LONG), ("mean", 5, LONG), ("mean", 5, SHORT))
        )
        found = [
            (held < each - 0.15, "an action held for five raw steps overshoots" + "; the mean doesn't" * (mean > held)),
            (min(each, mean) < 0.95, "the script fails in some scenes"),
            (early < mean, "takes more than 200 raw steps in some scenes"),
            (bool(own) and own.get(task, 1.0) < mean - 0.15, "the model: its expert can"),
        ]
        return ", ".join(text for holds, text in found if holds)

    header = ("task", "every raw step", "held for 5", "mean of 5", "the last in 200 raw steps")
    lines = [
        (
            task,
            *(f"{100 * share[task, action, repeat, LONG]:.0f}" for action, repeat in (CASES[0], *CASES[-2:])),
            f"{100 * share[task, 'mean', 5, SHORT]:.0f}",
            *((f"{100 * own[task]:.0f}" if task in own else "",) if agent else ()),
            cause(task),
        )
        for task in sorted(tasks, key=solved)[:WORST]
    ]
    named = (f"`{agent.agent}`",) if agent else ()
    title = f"**The {len(lines)} hardest of {len(tasks)} tasks**: success % of the scripted expert within 500 raw steps"
    return f"{title}\n\n" + markdown((*header, *named, "cause"), lines)
