"""When to leave the prior: only for a plan whose imagined gain is larger than what imagination gets wrong."""

from __future__ import annotations

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
    """

    margin: float = 0.0
    margin_futures: float = 0.0
    margin_candidates: float = 0.0
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("margin", "margin_futures", "margin_candidates", "patience"):
            if getattr(self, name) < 0:
                raise UserError(f"acceptance.{name}={getattr(self, name)} must be at least 0")

    def accept(self, gain: Tensor, candidates: Tensor) -> Tensor:
        """Lanes (E,) in which the plan is played.

        Args:
            gain: (E, K) score of the plan minus that of the prior's own plan, future by future.
            candidates: (E, N) scores of all candidates.
        """
        mean = gain.mean(1)
        need = self.margin_candidates * candidates.std(1)
        if gain.shape[1] > 1:
            need = need.maximum(self.margin_futures * gain.std(1))
        return mean > need.clamp_min(self.margin)
