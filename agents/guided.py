"""Planning around a prior: its own plan is one of the candidates, kept unless the plan found is clearly better."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Stream
from sfvgen_plan.agents.rollout import Plan, Problem
from sfvgen_plan.agents.search import SearchPlanner
from sfvgen_plan.errors import UserError, check_number


@dataclass(frozen=True)
class GuidedPlanner(SearchPlanner):
    """A search near a prior's plan, whose result has to convince. ``sigma`` of the optimiser is a share of the radius.

    Attributes:
        radius: most that any number of a candidate may differ from the prior, in units of the action; 2 is no limit.
        confirm: fresh futures in which the plan must beat the prior's own plan once more; 0 judges the gain by the
            futures it was found in, where the best of many is partly the luckiest.
        margin: least mean gain over the prior, in units of the objective.
        margin_futures: the same in standard deviations of the gain across futures. Both must be met.
        patience: decisions at the start of an episode in which the prior plays alone.
    """

    radius: float = 0.4
    confirm: int = 4
    margin: float = 0.0
    margin_futures: float = 0.0
    patience: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior is None:
            raise UserError("prior=null leaves nothing to plan around; give prior or prior10")
        check_number("candidates", self.optimiser.candidates, 3)  # the prior's plan and the last one are two of them
        check_number("radius", self.radius, 0, 2)
        for name in ("confirm", "margin", "margin_futures", "patience"):
            check_number(name, getattr(self, name), 0)

    def phase(self, decision: int) -> int:
        """0 while the prior plays alone, then 1."""
        return int(decision >= self.patience)

    def plan(self, problem: Problem) -> Plan:
        """The prior's actions, or in lanes where it convinces the plan found, which is carried over in either case."""
        if not any(self.phase(decision) for decision in problem.decisions):
            assert self.prior is not None
            actions = self.prior.act(problem.state).float().clamp(-1.0, 1.0)[:, None]
            return Plan(actions.expand(-1, self.horizon, -1), None)
        start, futures = self._start(problem), self._imagined(problem, Stream.FUTURES, self.futures)
        found = self._search(problem, start, futures, self.radius)
        if self.confirm:
            futures = self._imagined(problem, Stream.CONFIRM, self.confirm)
        pair = torch.stack([start[:, 0], found], dim=1)
        prior, plan = futures.score(pair).unbind(2)
        better = clearly_better(plan - prior, self.margin, self.margin_futures)
        return Plan(pair[torch.arange(len(pair), device=pair.device), better.long()], found)


def clearly_better(gain: Tensor, margin: float, margin_futures: float) -> Tensor:
    """Lanes (E,) whose mean gain (E, K) over K futures is above ``margin``, and above ``margin_futures`` standard
    deviations of the gain across them."""
    need = margin_futures * gain.std(1) if gain.shape[1] > 1 else torch.zeros_like(gain[:, 0])
    return gain.mean(1) > need.clamp_min(margin)
