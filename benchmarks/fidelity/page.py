"""A fidelity run for people: one Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sfvgen_plan.benchmarks.fidelity.summary import FEWEST_POLICIES
from sfvgen_plan.benchmarks.report.markdown import markdown, plain

MEASURE_NAMES = {"pearson": "Pearson", "spearman": "Spearman", "mmrv": "MMRV"}

DRIFT = ("decision", "episodes", "hand cm", "read", "object cm", "read", "PSNR dB", "copy")
DRIFT_KEYS = (
    "decision",
    "episodes",
    "hand_error_cm",
    "hand_readout_error_cm",
    "object_error_cm",
    "object_readout_error_cm",
    "psnr_db",
    "copy_psnr_db",
)
DISTANCES = ("real cm", "imagined", "slope", "corr.", "noise")
DISTANCE_KEYS = ("real_cm", "imagined_cm", "slope", "correlation", "repeat_cm")
PARTS = ("hand", "object")
SENSITIVITY = ("decision", *(f"{part} {what}" if what == "real cm" else what for part in PARTS for what in DISTANCES))
SENSITIVITY_KEYS = ("decision", *(f"{part}_{what}" for part in PARTS for what in DISTANCE_KEYS))


def page(summary: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """``summary`` of ``fidelity_summary.summarise``, ``record`` of the run."""
    return "\n\n".join(_parts(summary, record)) + "\n"


def _parts(summary: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Fidelity of checkpoint {record['checkpoint']} under `{record['protocol']}`"
    yield (
        f"{len(summary['policies'])} policies on the same {summary['episodes_per_policy']} start frames "
        f"({len(summary['tasks'])} tasks), at most {record['max_decisions']} decisions. Imagined success: "
        f"the success head gives a decision more than {record['threshold']:g}. {summary['errors']} episodes broke off."
        + _broken(summary)
        + ("" if record.get("finished", True) else " **Not all episodes have been played yet.**")
    )
    yield agreement_table(summary)
    met = ", ".join(
        f"{MEASURE_NAMES[name]} {'≤' if name == 'mmrv' else '≥'} {target['limit']:g} "
        f"{'met' if target['met'] else 'missed'}"
        for name, target in summary["targets"].items()
    )
    bias = f"Imagined success is {100 * summary['bias']:+.0f} points off on average."
    yield f"Targets, for {FEWEST_POLICIES} policies or more: {met}. {bias}"
    yield "## Policies"
    yield policies_table(summary)
    yield "## Tasks"
    header = ("task", "Pearson", "Spearman", "MMRV", "real %", "imagined %")
    yield markdown(header, [_task_line(item) for item in summary["by_task"]])
    yield "## Drift"
    yield (
        "The actions of real episodes, imagined from their start frames, one decision a pass. *Read* is the error of "
        "the read-outs on the real frames themselves, *copy* the PSNR of the start frame. Solved episodes have ended."
    )
    yield markdown(DRIFT, [_cells(line, DRIFT_KEYS) for line in summary["drift"]])
    yield "## Sensitivity to actions"
    yield (
        "Distances between the hands (objects) of two policies in the same scene. A slope of 1: imagined futures lie "
        "as far apart as the real ones; *noise*: as far as two imaginations of the same actions."
    )
    yield markdown(SENSITIVITY, [_cells(line, SENSITIVITY_KEYS) for line in summary["sensitivity"]])
    yield "## Unusual actions"
    decision = summary["unusual_actions"][0]["decision"]
    yield (
        f"Errors after {decision} decisions. *False*: share of the episodes without success in which imagining the "
        "same actions showed one; *missed*: share of those with success in which it showed none."
    )
    names = ("actions", "episodes", "hand cm", "object cm", "PSNR dB", "copy", "false %", "missed %")
    yield markdown(names, [_unusual_line(line) for line in summary["unusual_actions"]])


def _broken(summary: Mapping[str, Any]) -> str:
    names = ", ".join(plain(name) for name in summary["broken_policies"])
    return f" **Left out, as they played no episode to its end: {names}.**" if names else ""


def agreement_table(summary: Mapping[str, Any]) -> str:
    """How well scores in imagination tell real ones."""
    lines = []
    for title, key in (
        ("imagined", "agreement"),
        ("imagined, planners left out", "agreement_without_planners"),
        ("same actions imagined", "agreement_of_replays"),
        ("success head on real frames", "agreement_of_the_head"),
    ):
        found = summary[key]
        lines.append((title, *(_interval(found.get(name)) for name in MEASURE_NAMES)))
    return markdown(("scores, against real ones", *MEASURE_NAMES.values()), lines)


def _interval(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "–"
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def policies_table(summary: Mapping[str, Any]) -> str:
    """Each policy's success by each of ``VERDICTS``, in percent."""
    header = ("policy", "kind", "real %", "imagined %", "same actions imagined %", "success head on real frames %")
    return markdown(header, [_policy_line(item) for item in summary["policies"]])


def _policy_line(item: Mapping[str, Any]) -> tuple[str, ...]:
    rates = (
        f"{100 * item[verdict]['mean']:.0f} [{100 * item[verdict]['low']:.0f}, {100 * item[verdict]['high']:.0f}]"
        for verdict in ("real", "imagined", "replayed", "judged")
    )
    return plain(item["policy"]), item["kind"], *rates


def _task_line(item: Mapping[str, Any]) -> tuple[str, ...]:
    shares = (f"{100 * item[name]:.0f}" for name in ("real", "imagined"))
    return plain(item["task"]), *(_number(item[name], 3) for name in ("pearson", "spearman", "mmrv")), *shares


def _unusual_line(item: Mapping[str, Any]) -> tuple[str, ...]:
    errors = _cells(item, ("hand_error_cm", "object_error_cm", "psnr_db", "copy_psnr_db"))
    shares = (_number(item[name], 0, 100) for name in ("false_success", "missed_success"))
    return plain(item["actions"]), str(item["episodes"]), *errors, *shares


def _cells(line: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        str(line[key])
        if isinstance(line.get(key), int)
        else _number(line.get(key), 2 if key[-2:] in ("pe", "on") else 1)
        for key in keys
    )


def _number(value: float | None, digits: int, scale: float = 1) -> str:
    return "–" if value is None else f"{scale * value:.{digits}f}"
