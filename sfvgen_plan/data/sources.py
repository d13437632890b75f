"""What training has to know of the simulator that episodes come from, stored with every dataset; and which seeds are
for training: those of evaluation never appear in training data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from sfvgen_plan.errors import UserError

FIRST_TRAINING_SEED = 100_000  # training episodes have this seed or a higher one, evaluation episodes a lower one


@dataclass(frozen=True)
class Source:
    """A simulator, as training sees it."""

    # names of the state numbers that info["estimates"] has and that models read out of frames
    readouts: tuple[str, ...]
    reward_scale: float  # largest size of a decision's reward; 0: that of the episodes, measured when they are read
    raw_steps_per_second: int  # for videos; nominal where a decision takes as long as it needs
    licence: str = ""  # notice that goes with data and with checkpoints trained on them; empty where none has to
    # the environment's action space (Actions.stored); None where it is that of the vectors in the data
    actions: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "readouts": list(self.readouts)}

    @classmethod
    def of_collection(cls, settings: Mapping[str, Any], data: str) -> Self:
        """From the settings that a dataset was collected with. Raises UserError: they don't tell it."""
        try:
            found = settings["source"]
            return cls(**{**found, "readouts": tuple(found["readouts"])})
        except (KeyError, TypeError) as error:
            raise UserError(f"data={data!r} does not tell its simulator ({error}); collect it again") from error


def check_training_seeds(seeds: Iterable[int], data: str) -> None:
    """Refuse episodes of evaluation among training data. Raises UserError: a seed is too low."""
    lowest = min(int(seed) for seed in seeds)
    if lowest < FIRST_TRAINING_SEED:
        raise UserError(
            f"data={data!r} has an episode of seed={lowest}, which is kept for evaluation; training data starts at "
            f"seed={FIRST_TRAINING_SEED}: collect it with --seed {FIRST_TRAINING_SEED} or higher"
        )
