"""Statistics that a few lucky episodes don't move, over tasks × seeds (Agarwal et al. 2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice").

All work on ``Scores``: how often each value of a grid occurred on each task. Tasks are the strata of the bootstrap:
they are given, the seeds are drawn. Resampling a task's episodes with replacement is drawing its counts from a
multinomial distribution, which costs the same for a hundred episodes and for a million.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfvgen_plan.benchmarks.statistics import Estimate

RESAMPLES = 2_000
TRIM = 0.25
"""Share of the scores that the interquartile mean leaves out at each end."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one agent: ``counts`` (T, V) int64 of the ``values`` (V,), which ascend, on each of ``tasks``."""

    tasks: tuple[str, ...]
    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, scores: Mapping[str, Sequence[float]]) -> Scores:
        """From the scores of each task's episodes.

        Raises:
            ValueError: a task without episodes, or a score that is not finite.
        """
        if not scores or not all(len(found) for found in scores.values()):
            raise ValueError("every task needs at least one score")
        flat = np.concatenate([np.asarray(found, float) for found in scores.values()])
        if not np.isfinite(flat).all():
            raise ValueError("a score is not finite")
        values = np.unique(flat)
        counts = [np.bincount(np.searchsorted(values, found), minlength=len(values)) for found in scores.values()]
        return cls(tuple(scores), values, np.stack(counts))

    @property
    def episodes(self) -> int:
        return int(self.counts.sum())

    def resampled(self, resamples: int, generator: np.random.Generator) -> np.ndarray:
        """Counts (R, T, V) of bootstrap samples, every task with as many episodes as it has."""
        drawn = np.zeros((resamples, *self.counts.shape), np.int64)
        for index, counts in enumerate(self.counts):
            seen = np.flatnonzero(counts)  # Values that never came up can't be drawn, and cost time.
            total = counts.sum()
            drawn[:, index, seen] = generator.multinomial(total, counts[seen] / total, size=resamples)
        return drawn


def interquartile_mean(scores: Scores, resamples: int = RESAMPLES) -> Estimate:
    """Mean of the middle half of all scores (a quarter of them, rounded down, is left out at each end), with its
    95 % stratified bootstrap interval."""
    return _with_interval(scores, lambda counts: trimmed_mean(scores.values, counts.sum(axis=-2)), resamples)


def trimmed_mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean without the lowest and the highest quarter, (...,): of ascending ``values`` (V,), ``counts`` (..., V)."""
    upto = counts.cumsum(axis=-1)
    total = upto[..., -1:]
    cut = np.floor(TRIM * total)
    kept = np.diff(np.clip(upto, cut, total - cut), axis=-1, prepend=cut)
    return (kept * values).sum(axis=-1) / kept.sum(axis=-1)


def probability_of_improvement(first: Scores, second: Scores, resamples: int = RESAMPLES) -> Estimate:
    """Chance that an episode of ``first`` scores higher than one of ``second`` on the same task, ties counting half,
    averaged over the tasks that both have; ``count`` is their number.

    Raises:
        ValueError: no task in common.
    """
    shared = [task for task in first.tasks if task in second.tasks]
    if not shared:
        raise ValueError("the two agents have no task in common")
    values = np.union1d(first.values, second.values)
    ours, theirs = (_on_grid(scores, shared, values) for scores in (first, second))
    generator = np.random.default_rng(0)
    samples = _improvement(ours.resampled(resamples, generator), theirs.resampled(resamples, generator))
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(float(_improvement(ours.counts, theirs.counts)), float(low), float(high), len(shared))


def performance_profile(
    scores: Scores, thresholds: Sequence[float], resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the episodes that score more than each threshold, with its 95 % pointwise stratified bootstrap band:
    mean, low and high, each (len(thresholds),)."""
    above = (scores.values[:, None] > np.asarray(thresholds, float)[None]).astype(float)
    share = scores.counts.sum(axis=0) @ above / scores.episodes
    drawn = scores.resampled(resamples, np.random.default_rng(0)).sum(axis=1) @ above / scores.episodes
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return share, low, high


def _with_interval(scores: Scores, statistic: Callable[[np.ndarray], np.ndarray], resamples: int) -> Estimate:
    """``statistic`` of counts (..., T, V), with its interval."""
    drawn = statistic(scores.resampled(resamples, np.random.default_rng(0)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(statistic(scores.counts)), float(low), float(high), scores.episodes)


def _on_grid(scores: Scores, tasks: Sequence[str], values: np.ndarray) -> Scores:
    counts = np.zeros((len(tasks), len(values)), np.int64)
    places = np.searchsorted(values, scores.values)
    for index, task in enumerate(tasks):
        counts[index, places] = scores.counts[scores.tasks.index(task)]
    return Scores(tuple(tasks), values, counts)


def _improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(...,) from counts (..., T, V): Mann and Whitney's U over the number of pairs, mean over tasks."""
    below = theirs.cumsum(axis=-1) - theirs / 2
    wins = (ours * below).sum(axis=-1)
    return (wins / (ours.sum(axis=-1) * theirs.sum(axis=-1))).mean(axis=-1)
