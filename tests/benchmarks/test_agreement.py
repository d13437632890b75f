"""Agreement of two simulators' scores, against its definition and against published figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from sfvgen_plan.benchmarks.agreement import agreement, mmrv, pearson, spearman

SIMPLER: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "simpler.yaml").read_text())


def mmrv_by_definition(simulated: list[float], real: list[float]) -> float:
    worst = []
    for i in range(len(real)):
        violations = [0.0]
        for j in range(len(real)):
            if (simulated[i] > simulated[j]) != (real[i] > real[j]):
                violations.append(abs(real[i] - real[j]))
        worst.append(max(violations))
    return sum(worst) / len(worst)


@pytest.mark.parametrize("task", SIMPLER)
def test_published_figures_follow_from_published_scores(task: str) -> None:
    row = SIMPLER[task]
    simulated, real = np.array(row["simulated"]), np.array(row["real"])
    assert float(mmrv(simulated, real)) == pytest.approx(row["mmrv"], abs=0.0006)
    # Of "stack" .999 was published where the scores lie on a line.
    assert float(pearson(simulated, real)) == pytest.approx(row["pearson"], abs=0.0011)


def test_all_nine_are_there() -> None:
    assert len(SIMPLER) == 9


@pytest.mark.parametrize("seed", range(30))
def test_measures_are_those_of_their_definitions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    simulated, real = generator.integers(0, 6, (2, 7)) / 5  # ties, as success rates have
    assert float(mmrv(simulated, real)) == pytest.approx(mmrv_by_definition(simulated.tolist(), real.tolist()))
    assert float(pearson(simulated, real)) == pytest.approx(stats.pearsonr(simulated, real)[0])
    assert float(spearman(simulated, real)) == pytest.approx(stats.spearmanr(simulated, real)[0])


def test_they_take_many_samples_at_once() -> None:
    simulated, real = np.random.default_rng(0).random((2, 4, 3, 6))
    for measure in (pearson, spearman, mmrv):
        alone = [
            [float(measure(s, r)) for s, r in zip(*rows, strict=True)] for rows in zip(simulated, real, strict=True)
        ]
        np.testing.assert_allclose(measure(simulated, real), alone)


def test_a_constant_has_no_correlation_whatever_rounding_makes_of_it() -> None:
    assert np.isnan(pearson(np.full(3, 0.1), np.array([0.1, 0.5, 0.9])))
    assert np.isnan(spearman(np.array([0.1, 0.5, 0.9]), np.full(3, 0.3)))


def episodes(rates: list[float], seeds: int, generator: np.random.Generator) -> np.ndarray:
    return (generator.random((len(rates), 2 * seeds)) < np.array(rates)[:, None]).astype(float)


def test_equal_scores_agree_and_reversed_ones_do_not() -> None:
    real = episodes([0.0, 0.3, 0.6, 1.0], 20, np.random.default_rng(0))
    tasks = ["a"] * 20 + ["b"] * 20
    same, reverse = agreement(real, real, tasks), agreement(1 - real, real, tasks)
    assert same["pearson"] and (same["pearson"].mean, same["pearson"].low) == pytest.approx((1.0, 1.0))
    assert same["mmrv"] and same["mmrv"].high == 0.0
    assert reverse["spearman"] and reverse["spearman"].high == pytest.approx(-1.0)
    assert reverse["mmrv"] and reverse["mmrv"].mean > 0.5


def test_intervals_cover_the_truth_and_shrink_with_more_seeds() -> None:
    rates, imagined = [0.1, 0.4, 0.5, 0.8, 0.9], [0.2, 0.3, 0.5, 0.6, 0.8]
    truth, widths = float(pearson(np.array(imagined), np.array(rates))), {}
    for seeds, least in ((10, 24), (100, 35)):  # few episodes lower a correlation, which no resampling undoes
        covered = 0
        for trial in range(40):
            generator = np.random.default_rng(trial)
            real, simulated = (episodes(found, seeds, generator) for found in (rates, imagined))
            found = agreement(simulated, real, ["a"] * seeds + ["b"] * seeds, 300)["pearson"]
            assert found is not None
            covered += found.low <= truth <= found.high
            widths[seeds] = found.high - found.low
        assert covered >= least
    assert widths[100] < widths[10] / 2


def test_two_policies_are_too_few_and_shapes_must_fit() -> None:
    scores = np.ones((2, 4))
    assert agreement(scores, scores, ["a"] * 4) == {"pearson": None, "spearman": None, "mmrv": None}
    with pytest.raises(ValueError, match="don't fit"):
        agreement(scores, scores, ["a"] * 3)
