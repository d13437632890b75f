"""Intervals for success rates and for differences between agents on the same episodes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, from ``count`` observations."""

    mean: float
    low: float
    high: float
    count: int


def wilson(successes: int, trials: int) -> Estimate:
    """Success rate with its 95 % Wilson score interval (Wilson 1927): inside [0, 1], and not empty at 0 or 1.

    Raises:
        ValueError: more successes than trials, or no trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes={successes} of trials={trials} is no rate")
    rate = successes / trials
    scale = 1 + Z_95**2 / trials
    centre = (rate + Z_95**2 / (2 * trials)) / scale
    half = Z_95 / scale * math.sqrt(rate * (1 - rate) / trials + Z_95**2 / (4 * trials**2))
    return Estimate(rate, max(0.0, centre - half), min(1.0, centre + half), trials)


def mean(values: Sequence[float], resamples: int = 10_000) -> Estimate:
    """Mean with its 95 % bootstrap interval; the generator's seed is fixed.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no values have no mean")
    low, high = np.quantile(_resampled_totals([values], resamples) / len(values), [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high), len(values))


def paired_difference(
    first: Mapping[tuple[str, Hashable], float],
    second: Mapping[tuple[str, Hashable], float],
    resamples: int = 10_000,
) -> Estimate:
    """Mean of ``first`` - ``second`` over the (task, seed) pairs that both have, with a 95 % bootstrap interval.

    Seeds are resampled within each task, since the tasks are given and the seeds are drawn; the generator's seed is
    fixed, so the same scores always give the same interval.

    Raises:
        ValueError: no pair in common.
    """
    by_task: dict[str, list[float]] = {}
    for key in sorted(first.keys() & second.keys(), key=repr):
        by_task.setdefault(key[0], []).append(first[key] - second[key])
    if not by_task:
        raise ValueError("the two agents have no episode in common")
    differences = list(by_task.values())
    count = sum(map(len, differences))
    totals = _resampled_totals(differences, resamples) / count
    low, high = np.quantile(totals, [0.025, 0.975])
    return Estimate(sum(map(sum, differences)) / count, float(low), float(high), count)


def _resampled_totals(groups: Sequence[Sequence[float]], resamples: int) -> np.ndarray:
    """Sums over all groups after resampling each with replacement: (resamples,)."""
    generator = np.random.default_rng(0)
    totals = np.zeros(resamples)
    for group in groups:
        index = generator.integers(len(group), size=(resamples, len(group)))
        totals += np.asarray(group)[index].sum(axis=1)
    return totals
