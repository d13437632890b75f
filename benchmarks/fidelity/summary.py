"""What the rows of a fidelity run say: how well success in imagination tells real success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvgen_plan.benchmarks.fidelity.rows import FidelityRow
from sfvgen_plan.benchmarks.statistics import RESAMPLES, Estimate, agreement, wilson

KINDS = ("policy", "planner")
"""Rows of other kinds are passed over."""


def summarise(rows: Sequence[FidelityRow], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Everything that is reported, as JSON values; what is not defined is None.

    Scores are compared over the (task, seed) that every policy has played to the end.

    Raises:
        ValueError: no such episode.
    """
    rows = [row for row in rows if row.kind in KINDS]
    of: dict[str, dict[tuple[str, int], FidelityRow]] = {}
    for row in rows:
        if not row.error:
            of.setdefault(row.policy, {})[row.task, row.seed] = row
    shared = sorted(set.intersection(*(set(found) for found in of.values()))) if of else []
    if not shared:
        raise ValueError("no episode was played by every policy")
    real, imagined = (
        np.array([[getattr(found[key], f"{where}_success") for key in shared] for found in of.values()], float)
        for where in ("real", "imagined")
    )
    kinds = [found[shared[0]].kind for found in of.values()]
    plain = [place for place, kind in enumerate(kinds) if kind != "planner"]
    tasks = [task for task, _ in shared]
    return {
        "episodes_per_policy": len(shared),
        "tasks": list(dict.fromkeys(tasks)),
        "errors": sum(bool(row.error) for row in rows),
        "broken_policies": list(dict.fromkeys(row.policy for row in rows if row.policy not in of)),
        "policies": [
            {"policy": name, "kind": kind, "real": _rate(real[place]), "imagined": _rate(imagined[place])}
            for place, (name, kind) in enumerate(zip(of, kinds, strict=True))
        ],
        "agreement": _plain(agreement(imagined, real, tasks, resamples)),
        "agreement_without_planners": _plain(
            agreement(imagined[plain], real[plain], tasks, resamples) if plain else {}
        ),
        "bias": float((imagined - real).mean()),
    }


def _rate(successes: np.ndarray) -> dict[str, Any]:
    return vars(wilson(int(successes.sum()), len(successes)))


def _plain(found: Mapping[str, Estimate | None]) -> dict[str, Any]:
    return {name: None if estimate is None else vars(estimate) for name, estimate in found.items()}
