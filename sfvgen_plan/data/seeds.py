"""Which seeds are for training: those of evaluation never appear in training data."""

from collections.abc import Iterable

from sfvgen_plan.errors import UserError

FIRST_TRAINING_SEED = 100_000  # training episodes have this seed or a higher one, evaluation episodes a lower one


def check_training_seeds(seeds: Iterable[int], data: str) -> None:
    """Refuse episodes of evaluation among training data. Raises UserError: a seed is too low."""
    lowest = min(int(seed) for seed in seeds)
    if lowest < FIRST_TRAINING_SEED:
        raise UserError(
            f"data={data!r} has an episode of seed={lowest}, which is kept for evaluation; training data starts at "
            f"seed={FIRST_TRAINING_SEED}: collect it with --seed {FIRST_TRAINING_SEED} or higher"
        )
