"""Statistics of episodes: success rates, differences, and how well scores in one simulator tell scores in another.

All intervals are of 95 %. The bootstrap draws episodes again within each task, since tasks are given and seeds are
drawn; its generator's seed is fixed, so the same scores always give the same interval.
"""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2_000
CELLS = 20_000_000
"""Weights that a bootstrap may hold; of many thousand episodes fewer resamples are drawn, but at least a hundred."""

FEWEST_POLICIES = 3  # that a correlation needs: two points always lie on a line


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, from ``count`` observations."""

    mean: float
    low: float
    high: float
    count: int


def span(estimate: Estimate | None, digits: int = 2, factor: float = 1, sign: str = "") -> str:
    """A mean and its interval, such as ``0.62 [0.55, 0.70]``, in units of 1 / ``factor``, with ``sign`` "+" also in
    front of what is not less than 0; empty for None."""
    if estimate is None:
        return ""
    ends = (round(factor * value, digits) + 0.0 for value in (estimate.mean, estimate.low, estimate.high))  # no -0
    middle, low, high = (f"{value:{sign}.{digits}f}" for value in ends)
    return f"{middle} [{low}, {high}]"


def percentage(estimate: Estimate) -> str:
    """Success rate in percent with its interval, such as ``95 [76, 99]``."""
    return span(estimate, 0, 100)


def wilson(successes: int, trials: int) -> Estimate:
    """Success rate with its Wilson score interval: inside [0, 1], and not empty at 0 or 1. Raises ValueError: more
    successes than trials, or no trials."""
    from scipy.stats import binomtest  # slow to import

    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes={successes} of trials={trials} is no rate")
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high), trials)


def bootstrap(
    strata: Sequence[Hashable], statistic: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Lower and upper end of the interval of a statistic (weights (R, E), how often each episode was drawn -> (R,));
    NaN where it is NaN in every sample. Each episode is drawn again within its stratum (E,); R is at most
    ``resamples``."""
    resamples = min(resamples, max(100, CELLS // len(strata)))
    generator = np.random.default_rng(0)
    weights = np.empty((resamples, len(strata)))
    places: dict[Hashable, list[int]] = {}
    for place, stratum in enumerate(strata):
        places.setdefault(stratum, []).append(place)
    for own in places.values():
        weights[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
    samples = statistic(weights)
    samples = samples[np.isfinite(samples)]
    low, high = np.quantile(samples, [0.025, 0.975]) if len(samples) else (np.nan, np.nan)
    return float(low), float(high)


def mean(values: Sequence[float], resamples: int = RESAMPLES) -> Estimate:
    """Mean with its bootstrap interval. Raises ValueError: no values."""
    if not len(values):
        raise ValueError("no values have no mean")
    return _stratified_mean(values, [""] * len(values), resamples)


def paired_difference(
    first: Mapping[tuple[str, Hashable], float], second: Mapping[tuple[str, Hashable], float]
) -> Estimate:
    """Mean of ``first`` - ``second`` over the (task, seed) pairs that both have, with its bootstrap interval. Raises
    ValueError: no pair in common."""
    shared = sorted(first.keys() & second.keys(), key=repr)
    if not shared:
        raise ValueError("the two agents have no episode in common")
    return _stratified_mean([first[key] - second[key] for key in shared], [task for task, _ in shared])


def _stratified_mean(values: Sequence[float], strata: Sequence[Hashable], resamples: int = RESAMPLES) -> Estimate:
    array = np.asarray(values, float)
    low, high = bootstrap(strata, lambda weights: weights @ array / len(array), resamples)
    return Estimate(float(array.mean()), low, high, len(array))


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation (...,) of scores (..., P); NaN where one of them is constant."""
    from scipy.stats import pearsonr

    with warnings.catch_warnings(action="ignore"):  # of constants
        # Rounding errors would make something of a constant; they are far below any difference between scores.
        return pearsonr(np.round(first, 12), np.round(second, 12), axis=-1).statistic


def mmrv(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Mean maximum rank violation (...,) of scores (..., P), in units of the real score (SIMPLER, Li et al. 2024): for
    each policy the largest difference in real scores to a policy that the simulator puts on the wrong side of it,
    averaged over policies. 0 is best, and it forgives mix-ups of equals."""
    above_simulated, above_real = (scores[..., :, None] > scores[..., None, :] for scores in (simulated, real))
    gap = np.abs(real[..., :, None] - real[..., None, :])
    return np.where(above_simulated != above_real, gap, 0.0).max(-1).mean(-1)


MEASURES = {"pearson": pearson, "mmrv": mmrv}


def agreement(
    simulated: np.ndarray, real: np.ndarray, strata: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, Estimate | None]:
    """Each of ``MEASURES`` of the policies' mean scores ``simulated`` and ``real`` (P, E) on the same E episodes, with
    its bootstrap interval and the number of policies as ``count``; None where it is not defined: too few policies, or
    all with the same score. ``strata`` (E,): the task of each episode; seeds are drawn again within tasks, the same for
    all policies, which met the same scenes. Raises ValueError: no episodes, or shapes that differ."""
    if simulated.shape != real.shape or simulated.ndim != 2 or not simulated.size or len(strata) != simulated.shape[1]:
        raise ValueError(f"scores of shape {simulated.shape} and {real.shape} on {len(strata)} episodes don't fit")
    policies, episodes = simulated.shape
    found: dict[str, Estimate | None] = dict.fromkeys(MEASURES)
    for name, measure in MEASURES.items() if policies >= FEWEST_POLICIES else ():

        def statistic(weights: np.ndarray, measure: Callable = measure) -> np.ndarray:
            return measure(weights @ simulated.T / episodes, weights @ real.T / episodes)

        value, (low, high) = statistic(np.ones(episodes)), bootstrap(strata, statistic, resamples)
        if np.isfinite(value) and np.isfinite(low):
            found[name] = Estimate(float(value), low, high, policies)
    return found
