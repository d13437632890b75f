"""Statistics against published values, and against their definitions written out with loops."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from sfvgen_plan.benchmarks.statistics import agreement, mean, mmrv, paired_difference, pearson, wilson

SIMPLER = yaml.safe_load((Path(__file__).parent / "simpler.yaml").read_text())


def test_wilson_interval_against_published_values():
    for successes, trials, low, high in (
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (10, 20, 0.2993, 0.7007),
        (19, 20, 0.7639, 0.9911),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
    ):
        estimate = wilson(successes, trials)
        assert (estimate.mean, estimate.count) == (successes / trials, trials)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


def test_the_paired_interval_is_that_of_the_mean_difference_and_reproducible():
    generator = np.random.default_rng(1)
    differences = generator.normal(0.3, 1.0, size=400)
    noise = generator.normal(0, 50.0, size=400)  # shared by the pair, so it must not widen the interval
    first = {("task", seed): float(noise[seed] + differences[seed]) for seed in range(400)}
    second = {("task", seed): float(noise[seed]) for seed in range(400)}
    estimate, half = paired_difference(first, second), 1.96 * differences.std() / 20
    assert estimate.mean == pytest.approx(differences.mean())
    wanted = (differences.mean() - half, differences.mean() + half)
    assert (estimate.low, estimate.high) == pytest.approx(wanted, abs=0.02)
    assert estimate == paired_difference(first, second)


def test_only_shared_episodes_count_and_tasks_do_not_spread():
    # The tasks differ a lot, but every seed of a task agrees: resampling seeds within tasks leaves no doubt.
    first = {("easy", seed): 1.0 for seed in range(5)} | {("hard", seed): 0.0 for seed in range(5)}
    second = {(task, seed): 0.0 for task in ("easy", "hard") for seed in range(4)} | {("other", 0): 1.0}
    estimate = paired_difference(first, second)
    assert (estimate.mean, estimate.low, estimate.high, estimate.count) == (0.5, 0.5, 0.5, 8)
    with pytest.raises(ValueError, match="no episode in common"):
        paired_difference({("a", 0): 1.0}, {("a", 1): 1.0})


def test_mean_with_an_interval_near_the_normal_one():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    estimate, half = mean(values.tolist()), 1.96 * values.std() / 20
    assert (estimate.mean, estimate.count) == (pytest.approx(values.mean()), 400)
    wanted = (values.mean() - half, values.mean() + half)
    assert (estimate.low, estimate.high) == pytest.approx(wanted, abs=0.04)
    assert mean([2.0]).low == mean([2.0]).high == 2.0
    with pytest.raises(ValueError, match="no values"):
        mean([])


@pytest.mark.parametrize("task", SIMPLER)
def test_published_correlations_follow_from_published_scores(task):
    simulated, real = np.array(SIMPLER[task]["simulated"]), np.array(SIMPLER[task]["real"])
    assert len(SIMPLER) == 9
    assert float(mmrv(simulated, real)) == pytest.approx(SIMPLER[task]["mmrv"], abs=0.0006)
    # Of "stack" .999 was published where the scores lie on a line.
    assert float(pearson(simulated, real)) == pytest.approx(SIMPLER[task]["pearson"], abs=0.0011)


def test_two_policies_are_too_few_a_constant_has_no_correlation_and_shapes_must_fit():
    scores = np.ones((2, 4))
    assert agreement(scores, scores, ["a"] * 4) == {"pearson": None, "mmrv": None}
    wobbly = np.array([0.1, 0.1 + 1e-16, 0.1])  # whatever rounding makes of it
    assert np.isnan(pearson(wobbly, np.array([0.1, 0.5, 0.9])))
    assert np.isnan(pearson(np.array([0.1, 0.5, 0.9]), np.full(3, 0.3)))
    with pytest.raises(ValueError, match="don't fit"):
        agreement(scores, scores, ["a"] * 3)
