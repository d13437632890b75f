"""What the rows of a fidelity run say: agreement of scores, drift, sensitivity to actions, unusual actions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.fidelity.rows import FidelityRow, Moment
from sfvgen_plan.benchmarks.statistics import MEASURES, RESAMPLES, Estimate, agreement, mmrv, pearson, wilson

TARGETS = {"pearson": 0.9, "mmrv": 0.1}
"""At least, and at most."""

FEWEST_POLICIES = 6
"""With fewer a target is not met: a few points lie on a line too easily."""

DECISIONS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)
"""At which drift and sensitivity are told."""

UNUSUAL_AT = 10
"""Decision at which unusual actions are compared with the policies' own: most episodes get there."""

VERDICTS = ("real", "imagined", "replayed", "judged")
PROBE = "probe"
ALL_POLICIES = "all policies"
PARTS = ("hand", "object")


def summarise(rows: Sequence[FidelityRow], moments: Sequence[Moment], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Everything that is reported, as JSON values; what is not defined is None.

    Scores are compared over the (task, seed) that every policy has played to the end; probes are no policies.

    Raises:
        ValueError: no such episode.
    """
    whole = [row for row in rows if not row.error]
    names = list(dict.fromkeys(row.policy for row in whole if row.kind != PROBE))
    of: dict[str, dict[tuple[str, int], FidelityRow]] = {name: {} for name in names}
    for row in whole:
        if row.kind != PROBE:
            of[row.policy][row.task, row.seed] = row
    shared = sorted(set.intersection(*(set(found) for found in of.values()))) if names else []
    if not shared:
        raise ValueError("no episode was played by every policy")
    scores = {
        verdict: np.array([[getattr(of[name][key], f"{verdict}_success") for key in shared] for name in names], float)
        for verdict in VERDICTS
    }
    strata = [task for task, _ in shared]
    kinds = {row.policy: row.kind for row in whole}
    plain = [place for place, name in enumerate(names) if kinds[name] != "planner"]
    found = agreement(scores["imagined"], scores["real"], strata, resamples)
    return {
        "episodes_per_policy": len(shared),
        "tasks": list(dict.fromkeys(strata)),
        "errors": len(rows) - len(whole),
        # Their scores can't be compared, so nothing below is about them.
        "broken_policies": list(
            dict.fromkeys(row.policy for row in rows if row.kind != PROBE and row.policy not in of)
        ),
        "policies": [_policy(name, kinds[name], scores, place) for place, name in enumerate(names)],
        "agreement": _plain(found),
        "agreement_without_planners": _plain(
            agreement(scores["imagined"][plain], scores["real"][plain], strata, resamples) if plain else {}
        ),
        "agreement_of_replays": _plain(agreement(scores["replayed"], scores["real"], strata, resamples)),
        "agreement_of_the_head": _plain(agreement(scores["judged"], scores["real"], strata, resamples)),
        "targets": {
            name: {"limit": limit, "met": len(names) >= FEWEST_POLICIES and _met(name, found[name])}
            for name, limit in TARGETS.items()
        },
        "bias": float((scores["imagined"] - scores["real"]).mean()),
        "by_task": [_task(task, scores, strata) for task in dict.fromkeys(strata)],
        "drift": drift([moment for moment in moments if kinds.get(moment.policy, PROBE) != PROBE]),
        "sensitivity": sensitivity(moments),
        "unusual_actions": unusual(whole, moments, kinds),
    }


def drift(moments: Sequence[Moment]) -> list[dict[str, float]]:
    """Means over episodes after so many decisions: errors of imagined places in cm, the read-outs' own error on real
    frames, the distance of two imaginations of the same actions, and PSNR in dB. Solved episodes have ended, so later
    means are over fewer (``episodes``)."""
    lines = []
    for decision in DECISIONS:
        now = [moment for moment in moments if moment.decision == decision]
        if now:
            lines.append({"decision": decision, "episodes": len(now), **_errors(now)})
    return lines


def sensitivity(moments: Sequence[Moment]) -> list[dict[str, float | None]]:
    """Do different actions lead as far apart in imagination as they do in the real simulator?

    Over all pairs of policies and probes in the same scene: distances in cm between their hands (objects) after so many
    decisions, real and imagined under the same actions. ``slope`` is that of imagined over real through the origin (1
    is right, 0 ignores actions), ``correlation`` Pearson's, ``repeat`` the distance that noise alone makes.
    """
    scenes: dict[tuple[str, int, int], list[Moment]] = defaultdict(list)
    for moment in moments:
        if moment.decision in DECISIONS:
            scenes[moment.task, moment.seed, moment.decision].append(moment)
    lines: list[dict[str, float | None]] = []
    for decision in DECISIONS:
        here = [found for (_, _, when), found in scenes.items() if when == decision and len(found) > 1]
        if not here:
            continue
        line: dict[str, float | None] = {"decision": decision}
        for part in PARTS:
            real = 100 * np.concatenate([_distances(found, f"real_{part}") for found in here])
            imagined = 100 * np.concatenate([_distances(found, f"imagined_{part}") for found in here])
            square = float((real**2).sum())
            line |= {
                f"{part}_pairs": len(real),
                f"{part}_real_cm": float(real.mean()),
                f"{part}_imagined_cm": float(imagined.mean()),
                f"{part}_slope": float((real * imagined).sum()) / square if square > 0 else None,
                f"{part}_correlation": _number(pearson(imagined, real)),
                f"{part}_repeat_cm": 100 * _mean(getattr(m, f"repeat_{part}") for found in here for m in found),
            }
        lines.append(line)
    return lines


def unusual(rows: Sequence[FidelityRow], moments: Sequence[Moment], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each probe beside the policies: errors after ``UNUSUAL_AT`` decisions (or the last that all reach), and how often
    imagining its actions showed a success that was none, or missed one."""
    groups: dict[str, Callable[[str], bool]] = {ALL_POLICIES: lambda name: kinds[name] != PROBE}
    groups |= {name: name.__eq__ for name in dict.fromkeys(row.policy for row in rows if row.policy == "random")}
    groups |= {name: name.__eq__ for name, kind in kinds.items() if kind == PROBE}
    reached = [max((m.decision for m in moments if inside(m.policy)), default=0) for inside in groups.values()]
    decision = min([UNUSUAL_AT, *(number for number in reached if number)])
    lines = []
    for group, inside in groups.items():
        now = [m for m in moments if inside(m.policy) and m.decision == decision]
        own = [row for row in rows if inside(row.policy)]
        lines.append(
            {
                "actions": group,
                "episodes": len(own),
                "decision": decision,
                **(_errors(now) if now else {}),
                "false_success": _number(_mean(row.replayed_success for row in own if not row.real_success)),
                "missed_success": _number(_mean(not row.replayed_success for row in own if row.real_success)),
            }
        )
    return lines


def _policy(name: str, kind: str, scores: Mapping[str, np.ndarray], place: int) -> dict[str, Any]:
    rates = {verdict: vars(_rate(scores[verdict][place])) for verdict in VERDICTS}
    return {"policy": name, "kind": kind, **rates}


def _rate(successes: np.ndarray) -> Estimate:
    return wilson(int(successes.sum()), len(successes))


def _task(task: str, scores: Mapping[str, np.ndarray], strata: Sequence[str]) -> dict[str, Any]:
    own = np.array(strata) == task
    means = {verdict: values[:, own].mean(1) for verdict, values in scores.items()}
    return {
        "task": task,
        "seeds": int(own.sum()),
        **{name: _number(measure(means["imagined"], means["real"])) for name, measure in MEASURES.items()},
        "mmrv_of_the_head": _number(mmrv(means["judged"], means["real"])),
        "real": float(means["real"].mean()),
        "imagined": float(means["imagined"].mean()),
    }


def _errors(moments: Sequence[Moment]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in PARTS:
        apart = _places(moments, f"imagined_{part}") - _places(moments, f"real_{part}")
        found[f"{part}_error_cm"] = 100 * float(np.linalg.norm(apart, axis=1).mean())
        found[f"{part}_readout_error_cm"] = 100 * _mean(getattr(moment, f"read_{part}") for moment in moments)
        found[f"{part}_repeat_cm"] = 100 * _mean(getattr(moment, f"repeat_{part}") for moment in moments)
    return found | {
        "psnr_db": _mean(moment.psnr for moment in moments),
        "copy_psnr_db": _mean(moment.copy_psnr for moment in moments),
    }


def _places(moments: Sequence[Moment], what: str) -> np.ndarray:
    return np.array([[getattr(moment, f"{what}_{axis}") for axis in "xyz"] for moment in moments])


def _distances(moments: Sequence[Moment], what: str) -> np.ndarray:
    """Of all pairs."""
    places = _places(moments, what)
    first, second = np.triu_indices(len(places), 1)
    return np.linalg.norm(places[first] - places[second], axis=1)


def _mean(values: Any) -> float:
    """NaN of nothing."""
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers) if numbers else float("nan")


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(found: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: None if estimate is None else vars(estimate) for name, estimate in found.items()}


def _met(name: str, estimate: Estimate | None) -> bool:
    if estimate is None:
        return False
    return estimate.mean <= TARGETS[name] if name == "mmrv" else estimate.mean >= TARGETS[name]
