"""The score of imagined rollouts, and planners that look for a high one: model predictive path integral control around
a prior, and the cross-entropy method; and one that follows videos. Settings: see ``agents.players.planners``."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sfvgen_plan.agents.noise import Stream, draw_seeds, smooth_noise
from sfvgen_plan.agents.planning import Plan, Problem
from sfvgen_plan.agents.players.planners import Default, Narrowing, Search, Video
from sfvgen_plan.envs.family import families, resolve
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome, Prior

Score = Callable[[Outcome], Tensor]  # an outcome of N episodes -> how good each is (N,)
DISCOUNT = 0.95  # d, of one decision
LEAST_SIGMA = 0.05  # to which the cross-entropy method narrows its Gaussian


@dataclass(frozen=True)
class Objective:
    """The sum of three terms, each at most 1 in size: the discounted mean of the reward, in units of its scale; the
    discounted probability of the first success, sum_g d^g p_g prod_{j<g} (1 - p_j); and the value of the last decision,
    which is what lies behind the horizon. What would come after an imagined episode has ended counts as likely as it
    goes on."""

    reward_scale: float = 1.0  # largest size of a decision's reward, that of the checkpoint's card
    reward_weight: float = 1.0  # 0 where the reward misleads

    def __call__(self, outcome: Outcome) -> Tensor:
        """Scores (N,) of N rollouts."""
        discount = DISCOUNT ** torch.arange(outcome.reward.shape[1], device=outcome.reward.device).float()
        goes_on, beyond = going_on(outcome)
        reward = (outcome.reward.float() * discount * goes_on).sum(1) / discount.sum() / self.reward_scale
        success = first_success(outcome.success.float(), discount * goes_on)
        return self.reward_weight * reward + success + outcome.value[:, -1].float() * beyond


@dataclass(frozen=True)
class TaskObjective:
    """A task -> its score: what its simulator has for it, or else ``usual``."""

    usual: Objective = Objective()

    def __call__(self, task: str) -> Score:
        objective = next((item.objective for item in families() if task in item.tasks), "")
        return resolve(objective)(task) if objective else self.usual


def going_on(outcome: Outcome) -> tuple[Tensor, Tensor]:
    """Probability that a rollout comes to each of its decisions (N, G), and that it goes on after the last one (N,)."""
    if outcome.termination is None:
        return torch.ones_like(outcome.reward), torch.ones_like(outcome.reward[:, 0])
    after = torch.cumprod(1.0 - outcome.termination.float(), dim=1)
    return torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1), after[:, -1]


def first_success(probability: Tensor, discount: Tensor) -> Tensor:
    """Discounted probability (N,) of a first success inside the horizon, of probability (N, G) and discount (N, G)."""
    failed_before = torch.cumprod(1.0 - probability, dim=1).roll(1, dims=1)
    failed_before[:, 0] = 1.0
    return (discount * probability * failed_before).sum(1)


class Futures:
    """K possible futures of each lane. All candidates of a lane meet the same noise, so that their scores can be
    compared.

    Args:
        problem: the lanes.
        score_of: task -> its score.
        count: K.
        penalty: score that a candidate loses where its futures lie one standard deviation of the latents apart.
    """

    def __init__(
        self, problem: Problem, score_of: Callable[[str], Score], count: int = 1, penalty: float = 0.0
    ) -> None:
        self.simulator, self._count, self._penalty = problem.simulator, count, penalty
        self.decisions = 0  # imagined so far
        self._lanes = len(problem.tasks)
        self._scores: dict[Score, list[int]] = defaultdict(list)
        for lane, task in enumerate(problem.tasks):
            self._scores[score_of(task)].append(lane)
        seeds = draw_seeds(problem.keys, Stream.FUTURES, count).flatten()
        self._state = self.simulator.reseed(self.simulator.fork(problem.state, count), seeds)

    def imagined(self, plans: Tensor) -> Tensor:
        """Scores (E, N) of plans (E, N, H, A)."""
        samples = plans.shape[1]
        spread = plans[:, None].expand(-1, self._count, *plans.shape[1:]).flatten(0, 2)
        self.decisions += spread.shape[0] * spread.shape[1]
        _, outcome = self.simulator.imagine(self.simulator.fork(self._state, samples), spread)
        return self._scored(outcome, samples)

    def played(self, policy: Callable[[int, Tensor], Tensor], samples: int, decisions: int) -> tuple[Tensor, Tensor]:
        """Scores (E, N) of N candidates that choose their actions as they go, and these actions (E, N, G, A), means
        over the futures.

        Args:
            policy: number of the decision, and features (E, K, N, F) -> actions (E, K, N, A).
            samples: N.
            decisions: G.
        """
        shape = (self._lanes, self._count, samples)

        def choose(g: int, features: Tensor) -> Tensor:
            return policy(g, features.unflatten(0, shape)).flatten(0, 2)

        _, outcome, actions = self.simulator.play(self.simulator.fork(self._state, samples), choose, decisions)
        self.decisions += actions.shape[0] * actions.shape[1]
        return self._scored(outcome, samples), actions.unflatten(0, shape).mean(1)

    def _scored(self, outcome: Outcome, samples: int) -> Tensor:
        """Scores (E, N) of an outcome of E x K x N episodes."""
        count = len(outcome.reward)
        scores = torch.empty(self._lanes, count // self._lanes, device=outcome.reward.device)
        for score, lanes in self._scores.items():
            found = score(outcome)
            if found.shape != (count,):
                raise UserError(
                    f"objective gives scores of shape {tuple(found.shape)} for {count} episodes; give one each"
                )
            scores[lanes] = found.float().unflatten(0, (self._lanes, -1))[lanes]
        scores = scores.unflatten(1, (self._count, samples))
        if self._count == 1:
            return scores[:, 0]
        return scores.mean(1) - (self._penalty * self._doubt(outcome, samples) if self._penalty else 0.0)

    def _doubt(self, outcome: Outcome, samples: int) -> Tensor:
        """(E, N): the standard deviation of the latents across a candidate's futures at its end."""
        assert outcome.latents is not None, "futures only differ where frames are imagined"
        last = outcome.latents[:, -1].float().flatten(1)
        return last.unflatten(0, (self._lanes, self._count, samples)).std(1).mean(-1)


def mppi(own: Default, score_of: Callable[[str], Score], prior: Prior | None, problem: Problem) -> Plan:
    """Model predictive path integral control: the mean of candidates, weighted by the exponential of their scores. The
    plan found for each lane is also what is carried over.

    Some candidates play what the prior says of the frames that they imagine, others go on with the last plan, which
    begins at zero, all with noise. Where no candidate is better than another, their mean is the prior's own action: it
    takes a gain to leave it.
    """
    plan, planned = problem.carry, problem.carried
    futures = Futures(problem, score_of, own.futures, own.penalty)
    following = 0 if prior is None else round(own.prior_share * own.candidates)
    follows = torch.arange(own.candidates, device=plan.device) < following
    drawn = _noise(own, problem)
    drawn[:, :, following : following + 1] = 0.0  # the last plan as it is
    for noise in drawn.unbind(0):
        guided = follows | ~planned[:, None] if prior is not None else follows.expand(len(plan), -1)
        offsets = own.sigma * noise + (~guided)[..., None, None] * plan[:, None]
        policy = partial(_guided, prior, guided, offsets)
        scores, actions = futures.played(policy, own.candidates, own.horizon)
        weights = torch.softmax(scores / own.temperature, dim=1)
        plan, planned = (weights[..., None, None] * actions).sum(1), torch.ones_like(planned)
    return Plan(plan, plan, futures.decisions)


def _guided(prior: Prior | None, guided: Tensor, offsets: Tensor, g: int, features: Tensor) -> Tensor:
    """Offsets (E, N, H, A) at decision ``g``, on top of the prior's actions where ``guided`` (E, N)."""
    actions = offsets[:, None, :, g].expand(*features.shape[:3], -1)
    if prior is not None:
        actions = actions + guided[:, None, :, None] * prior(features)
    return actions.clamp(-1.0, 1.0)


def cem(own: Narrowing, score_of: Callable[[str], Score], problem: Problem) -> Plan:
    """The cross-entropy method: narrow a Gaussian over plans, which begins at the last one, to its best samples. The
    mean of the last Gaussian is also what is carried over."""
    futures, mean = Futures(problem, score_of), problem.carry
    sigma = torch.full_like(mean, own.sigma)
    for noise in _noise(own, problem).unbind(0):
        plans = (mean[:, None] + sigma[:, None] * noise).clamp(-1.0, 1.0)
        best = futures.imagined(plans).topk(own.elites, dim=1).indices
        elites = plans.gather(1, best[..., None, None].expand(-1, -1, *plans.shape[2:]))
        mean, sigma = elites.mean(1), elites.std(1, correction=0).clamp_min(LEAST_SIGMA)
    return Plan(mean, mean, futures.decisions)


def _noise(own: Search, problem: Problem) -> Tensor:
    """(iterations, E, N, H, A) unit normal, interpolated between every second decision, as hands move; the first
    candidate has none."""
    noise = smooth_noise(
        problem.keys, Stream.CANDIDATES, rounds=own.iterations, samples=own.candidates, horizon=own.horizon,
        action_dim=problem.simulator.action_dim, knots=1 + (own.horizon + 1) // 2, device=problem.carry.device,
    ).movedim(1, 0)  # fmt: skip
    noise[:, :, 0] = 0.0
    return noise


def followed_video(own: Video, problem: Problem) -> Plan:
    """Video planning: imagine each lane's sub-goal being reached, and do what would lead along the video."""
    simulator = problem.simulator
    state = simulator.reseed(problem.state, draw_seeds(problem.keys, Stream.FUTURES, 1)[:, 0])
    actions = simulator.video(state, own.horizon)[2]
    return Plan(actions, carry=None, imagined=len(problem.tasks) * own.horizon)
