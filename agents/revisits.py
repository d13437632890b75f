"""What the agent knows from going on: where it has been, the task was not solved.

Depth is ambiguous in a single view, so the heads may call a place a success that is none. An episode that goes on has
proved them wrong there, and imagined successes near that place count for less: the agent searches elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.simulation import STATE_NAMES, Outcome

PLACE = tuple(STATE_NAMES.index(f"{thing}_{axis}") for thing in ("hand", "object") for axis in "xyz")
"""Where the hand and the object are: the columns of ``Outcome.estimates`` that make a place."""


def place_and_belief(outcome: Outcome) -> Tensor:
    """(E, 7): hand and object (metres) at the newest decision, and the success probability believed there."""
    places = outcome.estimates[:, -1, list(PLACE)].float()
    return torch.cat([places, outcome.success[:, -1:].float()], dim=1)


@dataclass(frozen=True)
class Visited:
    """Places of E lanes that were no success.

    Attributes:
        places: (E, T, 6) hand and object, metres.
        belief: (E, T) success probability that was believed there; 0 where a lane has fewer places.
        length_scale: metres within which a place speaks for its surroundings.
    """

    places: Tensor
    belief: Tensor
    length_scale: float

    def discount(self, outcome: Outcome) -> Outcome:
        """The outcome of E x M rollouts (lanes outermost) with reward, success and value scaled down near places
        visited: by the product over visits of 1 - belief * exp(-d^2 / 2 l^2), one factor for every decision spent."""
        lanes, (rollouts, decisions) = len(self.places), outcome.success.shape
        here = outcome.estimates[..., list(PLACE)].float().reshape(lanes, -1, len(PLACE))
        distance = torch.cdist(here, self.places, compute_mode="donot_use_mm_for_euclid_dist")
        nearness = torch.exp(-0.5 * (distance / self.length_scale) ** 2)
        factor = (1.0 - self.belief[:, None] * nearness).prod(-1).reshape(rollouts, decisions)
        return replace(
            outcome,
            reward=outcome.reward * factor,
            success=outcome.success * factor,
            value=outcome.value * factor,
        )


def gather_visited(past: Sequence[Sequence[np.ndarray]], current: Tensor, length_scale: float) -> Visited:
    """``past`` holds the rows (7,) of each lane's earlier visits, ``current`` (E, 7) the rows of its real state now."""
    longest = max((len(rows) for rows in past), default=0)
    padded = np.zeros((len(past), longest, current.shape[1]), dtype=np.float32)
    for lane, rows in enumerate(past):
        if rows:
            padded[lane, : len(rows)] = np.stack(rows)
    visits = torch.cat([torch.from_numpy(padded).to(current.device), current[:, None]], dim=1)
    return Visited(visits[..., :-1].contiguous(), visits[..., -1], length_scale)
