"""When to leave the prior: only for a plan whose imagined gain is larger than what imagination gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sfvgen_plan.errors import UserError


@dataclass(frozen=True)
class Acceptance:
    """Margins by which a plan's score must beat the score of the prior's own plan. All must be met.

    Attributes:
        margin: least mean gain, in units of the objective.
        margin_futures: least mean gain in standard deviations of the gain across the futures of the lane.
        margin_candidates: least mean gain in standard deviations of the scores of the lane's candidates.
        patience: decisions at the start of an episode in which the prior plays alone.
        doubt: further margin per unit of gain that was promised and did not come true (see ``broken_promises``).
    """

    margin: float = 0.0
    margin_futures: float = 0.0
    margin_candidates: float = 0.0
    patience: int = 0
    doubt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("margin", "margin_futures", "margin_candidates", "patience", "doubt"):
            if getattr(self, name) < 0:
                raise UserError(f"acceptance.{name}={getattr(self, name)} must be at least 0")

    def accept(self, gain: Tensor, candidates: Tensor, broken: Tensor | None = None) -> Tensor:
        """Lanes (E,) in which the plan is played.

        Args:
            gain: (E, K) score of the plan minus that of the prior's own plan, future by future.
            candidates: (E, N) scores of all candidates.
            broken: (E,) promises broken so far in this episode, in units of the objective; None for none.
        """
        mean = gain.mean(1)
        need = self.margin_candidates * candidates.std(1)
        if gain.shape[1] > 1:
            need = need.maximum(self.margin_futures * gain.std(1))
        need = need.clamp_min(self.margin)
        return mean > (need if broken is None else need + self.doubt * broken)


def broken_promises(promises: Sequence[tuple[int, float]], decision: int, half_life: float = 10.0) -> float:
    """How much imagination has been wrong in this episode: the largest gain that was promised for a decision that has
    passed, while the episode still goes on; halved with every ``half_life`` decisions since.

    Args:
        promises: (decision at which the plan would have ended, imagined gain over the prior) of the plans played.
        decision: decisions executed so far.
    """
    return max((gain * 0.5 ** ((decision - due) / half_life) for due, gain in promises if due <= decision), default=0.0)
