"""What each ingredient of the default agent is worth: rows of planning with one of them changed at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sfvgen_plan.benchmarks.report.summary import grouped, percentage, summarise
from sfvgen_plan.benchmarks.results import EpisodeRow

FOLDER = "ablations"
"""Folder beside the protocols' rows that holds them, so that no leaderboard ranks agents that played a few tasks."""

CHANGES = {
    "p0": "all ingredients, and planning from the first decision (`patience` 0, two sampler steps, as below)",
    "p0-no-value": "no value at the horizon",
    "p0-no-confirm": "the gain is judged in the futures of the search",
    "p0-no-margin": "any gain is enough",
    "p0-no-trust": "no trust region",
    "p0-no-shared-noise": "candidates meet different noise",
    "p0-no-warm-start": "the last plan is forgotten",
    "p0-futures": "four futures for each candidate, their disagreement penalised",
    "p0-doubt": "promises that were not kept raise the margin",
    "p0-10": "all ingredients, around the prior of 10 episodes",
}
"""What is different, by label, in the order of the table; ``benchmarks/reproduce.sh ablations`` has the settings."""


def ingredients_table(
    rows: Sequence[EpisodeRow], tasks: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines: any-time success of every label that has rows, by those of ``tasks`` that have some."""
    played = [task for task in tasks if any(row.task == task for row in rows)]
    labels = grouped(rows, lambda row: row.agent)
    lines = []
    for label in [*(label for label in CHANGES if label in labels), *sorted(labels.keys() - CHANGES.keys())]:
        own = grouped(labels[label], lambda row: row.task)
        cells = (percentage(summarise(own[task]).success_any) if task in own else "" for task in played)
        lines.append((f"`{label}`", CHANGES.get(label, ""), *cells))
    return ("label", "what is different", *played), lines
