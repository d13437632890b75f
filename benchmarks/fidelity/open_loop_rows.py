"""What open-loop rows hold for each simulator, and what their means have to reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sfvgen_plan.data.rlbench_state import TASK_PREFIX

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class RowKind:
    """Rows of one simulator.

    Attributes:
        measures: column -> which of the measures of a rollout it is the mean of.
        file: where the rows are committed.
        decisions: usual length of a rollout.
        ends_early: its episodes end at success, so that means are over those that are still going on: an additional
            column ``episodes`` counts them.
    """

    measures: Mapping[str, str]
    file: str
    decisions: int
    ends_early: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the CSV file."""
        return ("task", "f_g", "decision", *(("episodes",) if self.ends_early else ()), *self.measures)


METAWORLD = RowKind(
    {name: name for name in ("psnr_db", "copy_psnr_db", "object_error_cm", "hand_error_cm")}, "open_loop.csv", 35
)
RLBENCH = RowKind(
    {
        "psnr_db": "psnr_db",
        "copy_psnr_db": "copy_psnr_db",
        "gripper_error_cm": "hand_error_cm",
        "success_accuracy": "success_accuracy",  # share of episodes of which the success head says what is true
        "solved": "solved",  # share of episodes that are solved at this decision
        "solved_seen": "solved_seen",  # share of episodes that are solved, and of which the head says so
    },
    "open_loop_rlbench.csv",
    20,
    ends_early=True,
)
TARGET_PSNR_DB, TARGET_OBJECT_ERROR_CM = 26.0, 2.5
TARGET_GAIN_DB, TARGET_GRIPPER_ERROR_CM = 6.0, 2.0
"""RLBench: more than copying the start, and the gripper's place."""


def kind_of(tasks: Iterable[str]) -> RowKind:
    """The rows that rollouts of these tasks give."""
    return RLBENCH if all(task.startswith(TASK_PREFIX) for task in tasks) else METAWORLD


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Means over tasks at the last decision, one for each f_g, and whether they meet the targets.

    What the success head is worth is counted over all decisions, as few episodes end at the last.

    Raises:
        ValueError: an f_g whose rollouts are shorter than the others'.
    """
    rows = list(rows)
    kind = kind_of(str(row["task"]) for row in rows)
    last = max(int(row["decision"]) for row in rows)
    summary = []
    for f_g in dict.fromkeys(int(row["f_g"]) for row in rows):
        every = [row for row in rows if int(row["f_g"]) == f_g]
        at_end = [row for row in every if int(row["decision"]) == last]
        if not at_end:
            raise ValueError(f"f_g={f_g} has no row of decision {last}")
        means = {name: sum(float(row[name]) for row in at_end) / len(at_end) for name in kind.measures}
        if kind is RLBENCH:
            means = {name: mean for name, mean in means.items() if not name.startswith(("solved", "success"))}
            means |= _success_head(every)
            gain = means["psnr_db"] - means["copy_psnr_db"]
            met = gain >= TARGET_GAIN_DB and means["gripper_error_cm"] <= TARGET_GRIPPER_ERROR_CM
        else:
            met = means["psnr_db"] >= TARGET_PSNR_DB and means["object_error_cm"] <= TARGET_OBJECT_ERROR_CM
        summary.append({"f_g": f_g, "decision": last, **means, "targets_met": met})
    return summary


def _success_head(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Accuracy over all frames, and of never saying "solved"; the share of the solved frames that it knows, if any."""
    total = right = solved = seen = 0.0
    for row in rows:
        count = float(row["episodes"])
        total += count
        right += count * float(row["success_accuracy"])
        solved += count * float(row["solved"])
        seen += count * float(row["solved_seen"])
    shares = {"success_accuracy": right / total, "never_accuracy": 1 - solved / total}
    return shares | ({"solved_known": seen / solved} if solved else {})


def summary_text(summary: Iterable[Mapping[str, float]]) -> str:
    """The summary for people."""
    return "\n".join(
        f"f_g {line['f_g']:>2}, decision {line['decision']}: PSNR {line['psnr_db']:.1f} dB "
        f"({_details(line)}: {'met' if line['targets_met'] else 'missed'}"
        for line in summary
    )


def _details(line: Mapping[str, float]) -> str:
    if "gripper_error_cm" in line:
        return (
            f"copying the start {line['copy_psnr_db']:.1f}, target {TARGET_GAIN_DB:g} more), "
            f"gripper error {line['gripper_error_cm']:.1f} cm (target {TARGET_GRIPPER_ERROR_CM:g}), "
            f"success head right in {100 * line['success_accuracy']:.1f} % of all frames "
            f"(never saying it: {100 * line['never_accuracy']:.1f})"
            + (f", in {100 * line['solved_known']:.0f} % of the solved" if "solved_known" in line else "")
        )
    return (
        f"target {TARGET_PSNR_DB:g}, copying the start {line['copy_psnr_db']:.1f}), "
        f"object error {line['object_error_cm']:.1f} cm (target {TARGET_OBJECT_ERROR_CM:g}), "
        f"hand error {line['hand_error_cm']:.1f} cm"
    )
