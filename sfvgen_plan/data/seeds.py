"""Which seeds are for training: those of evaluation never appear in training data."""

FIRST_TRAINING_SEED = 100_000
"""Training episodes have this seed or a higher one, evaluation episodes a lower one."""
