"""Planning around a prior: its own plan is one of the candidates, and is kept unless another one is clearly better.

Plans are written as offsets from what the prior does. Offset zero is the prior itself; it is always a candidate, and
the trust region bounds every number of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sfvgen_plan.agents.acceptance import Acceptance
from sfvgen_plan.agents.cem import pick
from sfvgen_plan.agents.mppi import softmax_weights
from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.rollout import Futures, Plan, Problem, roll_prior
from sfvgen_plan.agents.search import check_horizon
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Prior


@dataclass(frozen=True)
class TrustRegion:
    """How far from the prior candidates may go.

    Attributes:
        radius: most that any number of a candidate may differ from the prior, in units of the action (0..2).
        wide_radius: the same for the ``wide`` candidates.
        wide: how many candidates of an iteration may go further.
        growth: share by which both radii grow with every decision after ``growth_after``: an episode that goes on so
            long is one that the prior does not solve.
        growth_after: decisions after which the radii grow.
        sigma: standard deviation of the offsets, as a share of the radius.
        knots: points between which offsets are interpolated over time, 1..horizon.
        decisions: only the first so many decisions are changed, the prior's follow; None changes all.
    """

    radius: float = 0.4
    wide_radius: float = 1.0
    wide: int = 4
    growth: float = 0.0
    growth_after: int = 20
    sigma: float = 0.6
    knots: int = 2
    decisions: int | None = None

    def __post_init__(self) -> None:
        for name in ("radius", "wide_radius", "wide", "growth", "growth_after"):
            if getattr(self, name) < 0:
                raise UserError(f"trust.{name}={getattr(self, name)} must be at least 0")
        if self.sigma <= 0.0:
            raise UserError(f"trust.sigma={self.sigma} must be above 0")
        if self.decisions is not None and self.decisions < 1:
            raise UserError(f"trust.decisions={self.decisions} must be at least 1, or null for all")

    def radii(self, samples: int, decisions: Tensor) -> Tensor:
        """Radius (E, N, 1, 1) of each candidate; the last ``wide`` are the wide ones. decisions (E,) executed."""
        radius = torch.full((samples,), self.radius, device=decisions.device)
        if self.wide:
            radius[-self.wide :] = self.wide_radius
        grown = 1.0 + self.growth * (decisions - self.growth_after).clamp_min(0).float()
        return (grown[:, None] * radius).clamp_max(2.0)[..., None, None]

    def mask(self, offsets: Tensor) -> Tensor:
        """Offsets (..., H, A) with those of decisions that are not to be changed set to zero."""
        if self.decisions is None or self.decisions >= offsets.shape[-2]:
            return offsets
        kept = torch.arange(offsets.shape[-2], device=offsets.device) < self.decisions
        return offsets * kept[:, None]


@dataclass(frozen=True)
class GuidedPlanner:
    """Plans of ``horizon`` decisions around a prior.

    Attributes:
        prior: proposes the actions that plans are offsets from.
        objective: what is optimised.
        trust: how far candidates may go.
        acceptance: when the prior is left.
        horizon: decisions of a plan.
        candidates: plans scored in an iteration, the prior's and the last plan among them.
        iterations: 1 = one round of candidates; each further one samples around the weighted mean of the best so far.
        narrowing: factor on the deviation of the offsets from one iteration to the next.
        elites: best candidates that the mean is taken over.
        temperature: of the weights of the elites, in standard deviations of their scores.
        answer: the plan is the "best" candidate or the weighted "mean" of the elites.
        blend: share of the plan's offset that is played, in (0, 1].
        futures: imagined futures K of each candidate.
        confirm: fresh futures in which the plan must beat the prior's own plan once more; 0 judges the gain by the
            futures it was chosen in, where the best of many is partly the luckiest.
        feedback: the prior answers each imagined frame (one decision a pass) instead of its plan being replayed.
        warm_start: the last plan, one decision on, is among the candidates.
        shared_noise: candidates of a lane meet the same noise.
        chunk: decisions imagined in one pass; None for the whole horizon.
    """

    prior: Prior[Any]
    objective: Objective = field(default_factory=Objective)
    trust: TrustRegion = field(default_factory=TrustRegion)
    acceptance: Acceptance = field(default_factory=Acceptance)
    horizon: int = 4
    candidates: int = 24
    iterations: int = 1
    narrowing: float = 0.5
    elites: int = 8
    temperature: float = 0.3
    answer: str = "mean"
    blend: float = 1.0
    futures: int = 1
    confirm: int = 4
    feedback: bool = False
    warm_start: bool = True
    shared_noise: bool = True
    chunk: int | None = None

    def __post_init__(self) -> None:
        check_horizon(self.horizon, self.trust.knots, self.futures, self.chunk)
        if self.candidates < 3 + self.trust.wide:
            raise UserError(f"candidates={self.candidates} must be at least 3 + trust.wide={self.trust.wide}")
        if self.iterations < 1:
            raise UserError(f"iterations={self.iterations} must be at least 1")
        if not 1 <= self.elites <= self.candidates:
            raise UserError(f"elites={self.elites} must be between 1 and candidates={self.candidates}")
        if self.answer not in ("mean", "best"):
            raise UserError(f"answer={self.answer!r} is unknown; choose mean or best")
        if not 0.0 < self.blend <= 1.0:
            raise UserError(f"blend={self.blend} must be above 0 and at most 1")
        if self.confirm < 0 or self.temperature <= 0.0 or self.narrowing <= 0.0:
            raise UserError("confirm must be at least 0, temperature and narrowing above 0")

    def phase(self, decision: int) -> int:
        """0 while the prior plays alone, then 1."""
        return int(decision >= self.acceptance.patience)

    def plan(self, problem: Problem) -> Plan:
        """The prior's actions, or in lanes where it is accepted the plan's. Carries the plan over in either case."""
        if not any(self.phase(decision) for decision in problem.decisions):
            actions = self.prior.act(problem.state).float().clamp(-1.0, 1.0)[:, None]
            return Plan(actions.expand(-1, self.horizon, -1), None)
        nominal = self._nominal(problem)
        scoring = self._scoring(problem, nominal, Stream.FUTURES, self.futures)
        offsets, scores, mean = self._search(problem, nominal, scoring)
        chosen = mean if self.answer == "mean" else self._best(offsets, scores)
        gain = self._gain(problem, nominal, scoring, chosen)
        accepted = self.acceptance.accept(gain, self.objective.combine(scores), problem.broken)
        played = torch.where(accepted[:, None, None], self.blend * chosen, 0.0)
        carry = chosen if self.feedback else (nominal + chosen).clamp(-1.0, 1.0)
        return Plan((nominal + played).clamp(-1.0, 1.0), carry, torch.where(accepted, gain.mean(1), 0.0))

    def _nominal(self, problem: Problem) -> Tensor:
        """The prior's plan (E, H, A). With feedback only its first action is ever replayed."""
        if not self.feedback:
            return roll_prior(problem, self.prior, self.horizon)
        first = self.prior.act(problem.state).float().clamp(-1.0, 1.0)
        return first[:, None].expand(-1, self.horizon, -1)

    def _scoring(self, problem: Problem, nominal: Tensor, stream: int, count: int) -> _Scoring:
        futures = Futures(problem, self.objective, count, stream, self.shared_noise, self.chunk)
        return _Scoring(futures, nominal, self.prior if self.feedback else None)

    def _search(self, problem: Problem, nominal: Tensor, scoring: _Scoring) -> tuple[Tensor, Tensor, Tensor]:
        """All offsets tried (E, M, H, A), the prior's own plan first, their scores (E, K, M), and the weighted mean
        of the best (E, H, A)."""
        noise = smooth_noise(
            problem.keys,
            Stream.CANDIDATES,
            rounds=self.iterations,
            samples=self.candidates,
            horizon=self.horizon,
            action_dim=nominal.shape[-1],
            knots=self.trust.knots,
            device=nominal.device,
        )
        radii = self.trust.radii(self.candidates, torch.tensor(problem.decisions, device=nominal.device))
        nothing = torch.zeros_like(nominal)
        known = torch.stack([nothing, self._last(problem, nominal, radii[:, -1])], dim=1)
        center, tried, scored = nothing, [], []
        for iteration in range(self.iterations):
            sigma = self.trust.sigma * self.narrowing**iteration * radii
            offsets = self.trust.mask(center[:, None] + sigma * noise[:, iteration])
            offsets = offsets.clamp(-radii, radii)
            offsets = torch.cat([known, offsets[:, known.shape[1] :]], dim=1)
            tried.append(offsets)
            scored.append(scoring.score(offsets))
            center = self._mean(torch.cat(tried, 1), torch.cat(scored, 2))
            known = center[:, None]
        return torch.cat(tried, 1), torch.cat(scored, 2), center

    def _last(self, problem: Problem, nominal: Tensor, radius: Tensor) -> Tensor:
        """The last plan, one decision on, as an offset (E, H, A) inside the (wide) radius; zero where there is none."""
        if not self.warm_start:
            return torch.zeros_like(nominal)
        offset = problem.carry if self.feedback else problem.carry - nominal
        offset = self.trust.mask(offset.clamp(-radius, radius))
        return torch.where(problem.carried[:, None, None], offset, 0.0)

    def _mean(self, offsets: Tensor, scores: Tensor) -> Tensor:
        """Weighted mean (E, H, A) of the elites."""
        top = self.objective.combine(scores).topk(self.elites, dim=1)
        weights = softmax_weights(top.values, self.temperature)
        return (weights[..., None, None] * pick(offsets, top.indices)).sum(1)

    def _best(self, offsets: Tensor, scores: Tensor) -> Tensor:
        """The candidate (E, H, A) of the highest score."""
        return pick(offsets, self.objective.combine(scores).argmax(1, keepdim=True))[:, 0]

    def _gain(self, problem: Problem, nominal: Tensor, scoring: _Scoring, chosen: Tensor) -> Tensor:
        """Gain (E, K) of the chosen offsets over the prior's own plan: in fresh futures, or in those of the search."""
        if self.confirm:
            scoring = self._scoring(problem, nominal, Stream.CONFIRM, self.confirm)
        pair = scoring.score(torch.stack([torch.zeros_like(chosen), chosen], dim=1))
        return pair[..., 1] - pair[..., 0]


@dataclass(frozen=True)
class _Scoring:
    """Scores offsets from the prior in given futures."""

    futures: Futures
    nominal: Tensor
    prior: Prior[Any] | None

    def score(self, offsets: Tensor) -> Tensor:
        """Offsets (E, N, H, A) -> scores (E, K, N)."""
        if self.prior is not None:
            return self.futures.score_with_feedback(offsets, self.prior)
        return self.futures.score((self.nominal[:, None] + offsets).clamp(-1.0, 1.0))
