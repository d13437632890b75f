"""Robust statistics against their definitions, written out with loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import trim_mean

from sfvgen_plan.benchmarks.robust import Scores, interquartile_mean, performance_profile, probability_of_improvement


def scores_of(seed: int, shape: tuple[int, ...] = (13, 20, 7), levels: int = 9) -> dict[str, list[float]]:
    generator = np.random.default_rng(seed)
    return {f"task {n}": list(generator.integers(levels, size=size) / levels) for n, size in enumerate(shape)}


def bootstrap(scores: dict[str, list[float]], statistic, resamples: int = 4000) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The definition: within each task, draw as many episodes as there are, with replacement."""
    generator = np.random.default_rng(1)
    drawn = [
        statistic({task: list(generator.choice(found, len(found))) for task, found in scores.items()})
        for _ in range(resamples)
    ]
    return np.quantile(drawn, [0.025, 0.975], axis=0)


def flat(scores: dict[str, list[float]]) -> list[float]:
    return [score for found in scores.values() for score in found]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(1,), (3,), (4, 1), (13, 20, 7)])
def test_the_interquartile_mean_is_that_of_the_middle_half(seed: int, shape: tuple[int, ...]) -> None:
    scores = scores_of(seed, shape)
    everything = sorted(flat(scores))
    cut = len(everything) // 4
    middle = everything[cut : len(everything) - cut]
    estimate = interquartile_mean(Scores.of(scores), resamples=10)
    assert estimate.mean == pytest.approx(sum(middle) / len(middle))
    assert estimate.mean == pytest.approx(trim_mean(everything, 0.25))
    assert estimate.count == len(everything)


def test_its_interval_is_that_of_resampling_within_tasks() -> None:
    scores = scores_of(3)
    estimate = interquartile_mean(Scores.of(scores), resamples=4000)
    low, high = bootstrap(scores, lambda drawn: trim_mean(flat(drawn), 0.25))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.015)


def test_tasks_that_differ_do_not_widen_the_interval() -> None:
    scores = {"easy": [1.0] * 10, "medium": [0.5] * 20, "hard": [0.0] * 10}
    estimate = interquartile_mean(Scores.of(scores))
    assert (estimate.mean, estimate.low, estimate.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_probability_of_improvement_counts_pairs(seed: int) -> None:
    first, second = scores_of(seed), scores_of(seed + 100, (5, 8, 11), levels=4)
    by_task = []
    for task in first:
        pairs = list(product(first[task], second[task]))
        by_task.append(sum((x > y) + 0.5 * (x == y) for x, y in pairs) / len(pairs))
    estimate = probability_of_improvement(Scores.of(first), Scores.of(second), resamples=10)
    assert estimate.mean == pytest.approx(sum(by_task) / len(by_task))
    assert estimate.count == 3
    back = probability_of_improvement(Scores.of(second), Scores.of(first), resamples=10)
    assert estimate.mean + back.mean == pytest.approx(1)


def test_its_interval_is_that_of_resampling_both() -> None:
    first, second = scores_of(0), scores_of(7)
    estimate = probability_of_improvement(Scores.of(first), Scores.of(second), resamples=4000)
    generator = np.random.default_rng(5)
    drawn = []
    for _ in range(3000):
        shares = []
        for task in first:
            x, y = (generator.choice(scores[task], len(scores[task])) for scores in (first, second))
            shares.append(np.mean((x[:, None] > y) + 0.5 * (x[:, None] == y)))
        drawn.append(np.mean(shares))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.015)


def test_only_shared_tasks_are_compared() -> None:
    first = Scores.of({"a": [1.0], "b": [0.0]})
    estimate = probability_of_improvement(first, Scores.of({"c": [1.0], "a": [0.5]}))
    assert (estimate.mean, estimate.count) == (1.0, 1)
    with pytest.raises(ValueError, match="no task in common"):
        probability_of_improvement(first, Scores.of({"c": [1.0]}))


def test_the_profile_is_the_share_above_each_threshold() -> None:
    scores = scores_of(2)
    thresholds = [-1.0, 0.0, 0.3, 4 / 9, 1.0]
    share, low, high = performance_profile(Scores.of(scores), thresholds, resamples=4000)
    everything = flat(scores)
    assert share == pytest.approx(
        [sum(score > limit for score in everything) / len(everything) for limit in thresholds]
    )
    wanted = bootstrap(
        scores, lambda drawn: [sum(score > limit for score in flat(drawn)) / len(everything) for limit in thresholds]
    )
    assert np.abs(np.stack([low, high]) - wanted).max() < 0.03
    assert (low <= share).all()
    assert (share <= high).all()


def test_the_same_scores_give_the_same_intervals() -> None:
    scores = Scores.of(scores_of(4))
    assert interquartile_mean(scores) == interquartile_mean(scores)


@pytest.mark.parametrize("scores", [{}, {"a": []}, {"a": [float("nan")]}])
def test_no_scores_have_no_statistics(scores: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="score"):
        Scores.of(scores)
