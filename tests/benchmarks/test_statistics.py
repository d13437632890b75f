"""Intervals against known values."""

from __future__ import annotations

import numpy as np
import pytest

from sfvgen_plan.benchmarks.statistics import mean, paired_difference, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (10, 20, 0.2993, 0.7007),
        (19, 20, 0.7639, 0.9911),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
    ],
)
def test_wilson_interval_against_published_values(successes: int, trials: int, low: float, high: float) -> None:
    estimate = wilson(successes, trials)
    assert (estimate.mean, estimate.count) == (successes / trials, trials)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_impossible_counts_have_no_interval(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        wilson(successes, trials)


def test_equal_agents_differ_by_nothing() -> None:
    scores = {("reach-v3", seed): float(seed % 2) for seed in range(20)}
    estimate = paired_difference(scores, dict(scores))
    assert (estimate.mean, estimate.low, estimate.high, estimate.count) == (0, 0, 0, 20)


def test_paired_interval_is_that_of_the_mean_difference() -> None:
    generator = np.random.default_rng(1)
    differences = generator.normal(0.3, 1.0, size=400)
    noise = generator.normal(0, 50.0, size=400)  # shared by the pair, so it must not widen the interval
    first = {("task", seed): float(noise[seed] + differences[seed]) for seed in range(400)}
    second = {("task", seed): float(noise[seed]) for seed in range(400)}
    estimate = paired_difference(first, second)
    half = 1.96 * differences.std() / 20
    assert estimate.mean == pytest.approx(differences.mean())
    assert (estimate.low, estimate.high) == pytest.approx(
        (differences.mean() - half, differences.mean() + half), abs=0.01
    )


def test_only_shared_episodes_count_and_tasks_do_not_spread() -> None:
    # The tasks differ a lot, but every seed of a task agrees: resampling seeds within tasks leaves no doubt.
    first = {("easy", seed): 1.0 for seed in range(5)} | {("hard", seed): 0.0 for seed in range(5)}
    second = {(task, seed): 0.0 for task in ("easy", "hard") for seed in range(4)} | {("other", 0): 1.0}
    estimate = paired_difference(first, second)
    assert (estimate.mean, estimate.low, estimate.high, estimate.count) == (0.5, 0.5, 0.5, 8)


def test_the_interval_is_reproducible() -> None:
    first = {("t", seed): float(seed % 3 == 0) for seed in range(20)}
    second = {("t", seed): float(seed % 4 == 0) for seed in range(20)}
    assert paired_difference(first, second) == paired_difference(first, second)


def test_agents_without_a_shared_episode_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no episode in common"):
        paired_difference({("a", 0): 1.0}, {("a", 1): 1.0})


def test_mean_with_an_interval_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    estimate = mean(values.tolist())
    half = 1.96 * values.std() / 400**0.5
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.count == 400
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert mean([2.0]).low == mean([2.0]).high == 2.0
    with pytest.raises(ValueError, match="no values"):
        mean([])
