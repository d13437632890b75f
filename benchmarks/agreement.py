"""How well scores in one simulator tell scores in another: Pearson, Spearman, and the mean maximum rank violation.

The last is that of SIMPLER (Li et al. 2024): for each policy the largest difference in real scores to a policy that the
simulator puts on the wrong side of it, averaged over policies. 0 is best, and it forgives mix-ups of equals.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfvgen_plan.benchmarks.statistics import Estimate

RESAMPLES = 2_000
FEWEST_POLICIES = 3
"""Two points always lie on a line."""


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation (...,) of scores (..., P); NaN where one of them is constant."""
    first = first - first.mean(-1, keepdims=True)
    second = second - second.mean(-1, keepdims=True)
    scale = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Rounding leaves something of a constant, far below any difference between scores.
        return np.where(scale > 1e-12, (first * second).sum(-1) / scale, np.nan)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation (...,) of the ranks of scores (..., P), ties at their mean rank; NaN where one is constant."""
    return pearson(_ranks(first), _ranks(second))


def mmrv(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Mean maximum rank violation (...,) of scores (..., P), in units of the real score."""
    swapped = _above(simulated) != _above(real)
    gap = np.abs(real[..., :, None] - real[..., None, :])
    return np.where(swapped, gap, 0.0).max(-1).mean(-1)


MEASURES = {"pearson": pearson, "spearman": spearman, "mmrv": mmrv}


def agreement(
    simulated: np.ndarray, real: np.ndarray, strata: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, Estimate | None]:
    """Each of ``MEASURES`` of the policies' mean scores, with its 95 % bootstrap interval.

    Args:
        simulated, real: (P, E) scores of P policies on the same E episodes.
        strata: (E,) the task of each episode; seeds are drawn again within tasks, the same for all policies, which met
            the same scenes.
        resamples: of the bootstrap.

    Returns:
        Estimates with the number of policies as ``count``; None where it is not defined: too few policies, or all with
        the same score.

    Raises:
        ValueError: no episodes, or shapes that differ.
    """
    if simulated.shape != real.shape or simulated.ndim != 2 or not simulated.size or len(strata) != simulated.shape[1]:
        raise ValueError(f"scores of shape {simulated.shape} and {real.shape} on {len(strata)} episodes don't fit")
    policies = len(simulated)
    if policies < FEWEST_POLICIES:
        return dict.fromkeys(MEASURES, None)
    drawn = _resampled_means(np.stack([simulated, real]), strata, resamples)
    found: dict[str, Estimate | None] = {}
    for name, measure in MEASURES.items():
        value = float(measure(simulated.mean(1), real.mean(1)))
        # Samples in which all policies score the same have no correlation; there are few unless the value has none.
        samples = measure(drawn[0], drawn[1])
        samples = samples[np.isfinite(samples)]
        if not np.isfinite(value) or not len(samples):
            found[name] = None
            continue
        low, high = np.quantile(samples, [0.025, 0.975])
        found[name] = Estimate(value, float(low), float(high), policies)
    return found


def _resampled_means(scores: np.ndarray, strata: Sequence[str], resamples: int) -> np.ndarray:
    """Means (2, R, P) of scores (2, P, E) after drawing the episodes of each stratum again with replacement."""
    generator = np.random.default_rng(0)
    names = np.asarray(strata)
    totals = np.zeros((scores.shape[0], resamples, scores.shape[1]))
    for name in dict.fromkeys(strata):
        own = scores[:, :, names == name]
        count = own.shape[-1]
        weights = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
        totals += np.einsum("spe,re->srp", own, weights)
    return totals / scores.shape[-1]


def _above(scores: np.ndarray) -> np.ndarray:
    return scores[..., :, None] > scores[..., None, :]


def _ranks(scores: np.ndarray) -> np.ndarray:
    equal = scores[..., :, None] == scores[..., None, :]
    return _above(scores).sum(-1) + (equal.sum(-1) + 1) / 2
