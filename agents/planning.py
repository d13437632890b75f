"""The agent that plans: it follows its episodes in imagination, asks a planner, and plays its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfvgen_plan.agents.lanes import FollowingAgent, Lane, SubGoals
from sfvgen_plan.agents.noise import Key
from sfvgen_plan.errors import UserError


@dataclass(frozen=True)
class Problem:
    """What a planner is asked at one decision of E lanes: where to imagine, E imagined episodes that have seen the real
    frames so far, what each lane plays and its random key; and ``carry`` (E, H, A), what the planner left at its last
    call, moved on by the decisions executed since; zeros where ``carried`` (E,) is False."""

    simulator: Any
    state: Any
    tasks: Sequence[str]
    keys: Sequence[Key]
    carry: Tensor
    carried: Tensor


@dataclass(frozen=True)
class Plan:
    """A planner's answer: ``actions`` (E, H, A) in [-1, 1] to execute, what it wants back at its next call, and how
    many decisions it has imagined in all."""

    actions: Tensor
    carry: Tensor | None
    imagined: int = 0


def shift(plan: Tensor, decisions: int = 1) -> Tensor:
    """The plan (..., H, A) so many decisions later, at most H; its last action is repeated."""
    return torch.cat([plan[..., decisions:, :], plan[..., -1:, :].expand_as(plan[..., :decisions, :])], dim=-2)


Planner = Callable[[Problem], Plan]
"""Plans E independent problems at once."""


class PlanningAgent(FollowingAgent):
    """Plays lanes by planning ``horizon`` decisions (a ``BatchAgent``). ``replan_every``: those of them that are
    executed before the next plan; 1 uses all feedback there is. ``sub_goals``: see ``FollowingAgent``."""

    def __init__(
        self,
        simulator: Any,
        planner: Planner,
        horizon: int,
        replan_every: int = 1,
        *,
        seed: int = 0,
        sub_goals: SubGoals | None = None,
    ) -> None:
        if not 1 <= replan_every <= horizon:
            raise UserError(f"replan_every={replan_every} must be between 1 and horizon={horizon}")
        super().__init__(simulator, seed, sub_goals)
        self.planner, self.horizon, self.replan_every = planner, horizon, replan_every

    @torch.no_grad()
    def answer(self, lanes: Sequence[Lane], state: Any) -> np.ndarray:
        """The next actions (E, A) of the lanes' plans, which are made where there are none."""
        due = [place for place, lane in enumerate(lanes) if not lane.pending]
        if due:
            self._plan([lanes[n] for n in due], state if len(due) == len(lanes) else self.simulator.select(state, due))
        return np.stack([lane.pending.popleft() for lane in lanes])

    def _plan(self, lanes: Sequence[Lane], state: Any) -> None:
        """Fill ``pending`` of each lane from a new plan. A denoiser pass counts for every lane in it, as if each were
        alone."""
        shape, calls = (self.horizon, self.simulator.action_dim), getattr(self.simulator, "denoiser_calls", 0)
        carry = np.stack([np.zeros(shape, np.float32) if lane.kept is None else lane.kept for lane in lanes])
        plan = self.planner(
            Problem(
                simulator=self.simulator,
                state=state,
                tasks=[lane.task for lane in lanes],
                keys=self.keys(lanes),
                carry=torch.from_numpy(carry).to(self.simulator.device),
                carried=torch.tensor([lane.kept is not None for lane in lanes], device=self.simulator.device),
            )
        )
        calls = getattr(self.simulator, "denoiser_calls", 0) - calls
        actions = plan.actions[:, : self.replan_every].float().cpu().numpy()
        left = None if plan.carry is None else shift(plan.carry, self.replan_every).float().cpu().numpy()
        for place, lane in enumerate(lanes):
            lane.pending.extend(actions[place])
            lane.kept = None if left is None else left[place]
            lane.charge(0.0, calls, plan.imagined // len(lanes))
