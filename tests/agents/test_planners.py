"""Planners by behaviour, on a point that must reach its goal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.base import BatchAgent
from sfvgen_plan.agents.guided import GuidedPlanner, clearly_better
from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.optimisers import CEM, MPPI
from sfvgen_plan.agents.planning import PlanningAgent
from sfvgen_plan.agents.players.random import RandomAgent
from sfvgen_plan.agents.prior import PriorAgent
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.agents.rollout import shift
from sfvgen_plan.agents.search import SearchPlanner
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome

SEEDS = list(range(12))
CEM_SMALL = CEM(candidates=32, iterations=3, elites=4)
MPPI_SMALL = MPPI(candidates=32, iterations=3)
FEW = MPPI(candidates=24, iterations=1, sigma=0.6, elites=8)


def search(world, optimiser=CEM_SMALL, noise=0.0, **settings) -> PlanningAgent:
    return PlanningAgent(world.PointMass(noise), SearchPlanner(optimiser, horizon=5, knots=3, **settings))


def guided(world, prior, optimiser=FEW, noise=0.0, **settings) -> PlanningAgent:
    """Believes every imagined gain, unless settings say otherwise."""
    settings = {"horizon": 4, "knots": 2, "confirm": 0, **settings}
    return PlanningAgent(world.PointMass(noise), GuidedPlanner(optimiser, prior=prior, **settings))


def alone(world, prior, seeds=SEEDS, **options):
    return world.play(PriorAgent(world.PointMass(), prior), seeds, **options)


@pytest.mark.parametrize("optimiser", [CEM_SMALL, MPPI_SMALL, MPPI(32, 3, elites=4)])
@pytest.mark.parametrize("from_prior", [False, True])
def test_search_finds_the_goal_where_random_does_not(world, optimiser, from_prior):
    agent = search(world, optimiser, prior=world.Towards() if from_prior else None)
    planned = world.successes(world.play(agent, SEEDS))
    assert planned == len(SEEDS)
    assert world.successes(world.play(RandomAgent(action_dim=2), SEEDS)) < planned / 2


def test_planning_around_a_perfect_prior_is_never_later_than_the_prior(world):
    planned = world.play(guided(world, world.Towards()), SEEDS)
    for mine, prior in zip(planned, alone(world, world.Towards()), strict=True):
        assert mine.solved_at is not None and prior.solved_at is not None
        assert mine.solved_at <= prior.solved_at


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"futures": 2, "confirm": 2},
        {"optimiser": MPPI(24, 2, 0.6, elites=8)},
        {"optimiser": MPPI(24, 1, 0.6, elites=1)},
        {"optimiser": CEM(24, 2, 4, 0.6)},
    ],
)
def test_planning_repairs_a_biased_prior(world, settings):
    biased = world.Towards(offset=(0.2, 0.1))
    assert world.successes(alone(world, biased)) <= len(SEEDS) // 2
    agent = guided(world, biased, radius=1.0, **settings)
    assert world.successes(world.play(agent, SEEDS)) == len(SEEDS)


def test_planning_speeds_up_a_slow_prior(world):
    slow = world.Towards(gain=0.15)
    planned = world.play(guided(world, slow), SEEDS, decisions=30)
    assert sum(e.solved_at for e in planned) < 0.8 * sum(e.solved_at for e in alone(world, slow, decisions=30))


@pytest.mark.parametrize(("settings", "same"), [({"margin": 100.0}, 12), ({"patience": 3}, 3), ({"radius": 0.0}, 12)])
def test_the_prior_plays_until_patience_ends_and_where_no_plan_beats_the_margin(world, settings, same):
    biased = world.Towards(offset=(0.2, 0.1))
    priors, planned = alone(world, biased), world.play(guided(world, biased, **settings), SEEDS)
    assert all(np.array_equal(a.actions[:same], b.actions[:same]) for a, b in zip(planned, priors, strict=True))
    assert (world.successes(planned) > world.successes(priors)) == (same < 12)


def test_patience_costs_nothing_and_lanes_out_of_step_keep_their_own_cost(world):
    agent = guided(world, world.Towards(), patience=2)
    frame = world.picture(np.array([0.1, 0.2]), np.array([0.5, 0.5]))[None]
    agent.reset([0], ["point"], [1])
    for _ in range(2):
        agent.act([0], frame)
    assert agent.stats(0).imagined_decisions == 0
    agent.reset([1], ["point"], [2])
    agent.act([0, 1], np.repeat(frame, 2, axis=0))
    assert agent.stats(0).imagined_decisions > 0
    assert agent.stats(1).imagined_decisions == agent.stats(1).denoiser_calls == 0


def test_a_gain_must_beat_the_margin_and_its_own_spread():
    gain = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.0, 0.0]])
    assert clearly_better(gain, 0.0, 0.0).tolist() == [True, True, False]
    assert clearly_better(gain, 0.0, 1.0).tolist() == [True, False, False]
    assert not clearly_better(gain, 0.6, 0.0).any()
    assert clearly_better(gain[:, 1:], 0.6, 9.0).tolist() == [False, True, False]  # one future has no spread


def test_confirming_in_fresh_futures_keeps_the_prior_more_often_under_noise(world):
    """The best of many candidates in one noisy future is partly the luckiest. Unshared noise makes that visible."""
    priors = alone(world, world.Towards(), decisions=1)

    def kept(**settings) -> int:
        best = MPPI(24, 1, 0.6, elites=1)
        agent = guided(world, world.Towards(), best, 0.1, shared_noise=False, margin_futures=1.0, **settings)
        played = world.play(agent, SEEDS, decisions=1)
        return sum(np.allclose(a.actions, b.actions) for a, b in zip(played, priors, strict=True))

    assert kept(confirm=8) > kept(confirm=1)


def test_plans_stay_inside_the_radius(world):
    wild = MPPI(24, 2, sigma=5.0, elites=1)
    played = world.play(guided(world, world.Towards(gain=0.0), wild, radius=0.1), SEEDS)
    assert 0.05 < max(np.abs(episode.actions).max() for episode in played) <= 0.1 + 1e-6


def test_a_plan_is_shifted_by_the_decisions_executed():
    plan = torch.arange(4.0)[:, None]
    assert shift(plan, 1).flatten().tolist() == [1, 2, 3, 3]
    assert shift(plan, 3).flatten().tolist() == [3, 3, 3, 3]


def test_a_warm_start_goes_on_from_the_last_plan(world):
    """With hardly any noise a search can only stay where it starts, so plans get better from decision to decision."""
    timid = MPPI(8, 1, sigma=0.1)
    warm, cold = (world.play(search(world, timid, warm_start=warm), SEEDS, decisions=25) for warm in (True, False))
    assert world.successes(warm) > world.successes(cold)


AGENTS = {
    "cem": lambda world: search(world, noise=0.05),
    "mppi": lambda world: search(world, MPPI_SMALL, 0.05, prior=world.Towards(gain=0.3)),
    "futures": lambda world: search(world, noise=0.05, futures=3),
    "guided": lambda world: guided(
        world, world.Towards((0.2, 0.0)), MPPI(24, 2, 0.6, elites=8), 0.05, futures=2, confirm=2
    ),
    "unshared": lambda world: search(world, noise=0.05, shared_noise=False),
    "prior": lambda world: PriorAgent(world.PointMass(), world.Towards()),
    "random": lambda world: RandomAgent(action_dim=2),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_depends_on_its_seed_alone(world, name):
    agent = AGENTS[name](world)
    assert isinstance(agent, BatchAgent)
    together = world.play(agent, [7, 3, 5], decisions=5)
    for seed, episode in zip([7, 3, 5], together, strict=True):
        (single,) = world.play(AGENTS[name](world), [seed], decisions=5)
        np.testing.assert_allclose(episode.actions, single.actions, atol=1e-5)
    first, again = (world.play(agent, [3], decisions=5)[0].actions for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_agents_own_seed_changes_its_search(world):
    planner = SearchPlanner(CEM_SMALL, horizon=5, knots=3)
    agents = [PlanningAgent(world.PointMass(), planner, seed=seed) for seed in (0, 1)]
    first, second = (world.play(agent, [3], decisions=2)[0].actions for agent in agents)
    assert not np.array_equal(first, second)


def test_lanes_may_be_out_of_step(world):
    """A lane that starts while another is under way plays what it would have played alone."""
    agent = search(world, noise=0.05)
    single = world.play(search(world, noise=0.05), [4], decisions=1)[0].actions[0]
    frame, other = (world.picture(*np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2))) for seed in (4, 9))
    agent.reset([0], ["point"], [9])
    agent.act([0], other[None])
    agent.reset([5], ["point"], [4])
    both = agent.act([0, 5], np.stack([other, frame]))
    np.testing.assert_allclose(both[1], single, atol=1e-5)


def test_replanning_every_decision_beats_executing_plans_blindly(world):
    def error(replan_every: int) -> float:
        planner = SearchPlanner(CEM_SMALL, horizon=6, knots=3)
        agent = PlanningAgent(world.PointMass(noise=0.1), planner, replan_every=replan_every)
        played = world.play(agent, SEEDS, decisions=12)
        goals = [np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2))[1] for seed in SEEDS]
        return sum(np.linalg.norm(e.places[6:] - goal, axis=1).mean() for e, goal in zip(played, goals, strict=True))

    assert error(1) < error(6)


def test_the_cost_of_an_episode_is_counted(world):
    agent = search(world)
    simulator = agent.simulator.simulator
    world.play(agent, [1, 2], decisions=3)
    cost = agent.stats(0)
    assert cost.imagined_decisions == 3 * 3 * 32 * 5
    assert cost.denoiser_calls == simulator.denoiser_calls == 9
    assert cost.plan_seconds > 0
    assert simulator.largest_batch == 2 * 32
    agent.reset([0], ["point"], [3])
    assert agent.stats(0).imagined_decisions == 0
    assert agent.stats(1).imagined_decisions > 0


def test_smooth_noise_has_unit_variance_and_is_correlated_in_time():
    keys = [(0, seed, 0) for seed in range(4)]
    settings = dict(rounds=2, samples=500, horizon=6, action_dim=2, device="cpu")
    smooth, white, more = (smooth_noise(keys, Stream.CANDIDATES, knots=knots, **settings) for knots in (2, 6, 9))
    torch.testing.assert_close(smooth.std((0, 1, 2, 4)), torch.ones(6), atol=0.05, rtol=0)
    assert (smooth[..., :-1, :] * smooth[..., 1:, :]).mean() > 0.7
    assert (white[..., :-1, :] * white[..., 1:, :]).mean().abs() < 0.05
    assert more.equal(white)


@pytest.mark.parametrize(
    ("weights", "score"),
    [
        ({"reward_weight": 1.0, "reward_scale": 10.0}, 1 / 1.5),
        ({"reward_weight": 1.0}, 10 / 1.5),
        ({"success_weight": 1.0}, 0.5 + 0.5 * 0.5),
        ({"value_weight": 2.0}, 1.6),
        ({"reward_weight": 1.0, "value_weight": 2.0}, 10 / 1.5 + 1.6),
    ],
)
def test_objective_adds_its_weighted_terms(weights, score):
    rows = [torch.tensor([row]) for row in ([10.0, 0.0], [0.5, 1.0], [0.1, 0.8])]
    nothing = dict(reward_weight=0.0, success_weight=0.0, value_weight=0.0, discount=0.5)
    imagined = Outcome(*rows, estimates=torch.zeros(1, 2, 10))
    assert Objective(**{**nothing, **weights}).score(imagined).item() == pytest.approx(score)


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((CEM, {name: value}) for name, value in dict(candidates=1, elites=65, min_sigma=-0.1, momentum=1.5).items()),
        *((MPPI, {name: value}) for name, value in dict(iterations=0, sigma=0.0, decay=0.0, temperature=NAN).items()),
        (Objective, {"discount": 1.5}),
        (Objective, {"value_weight": -1.0}),
        *((SearchPlanner, {name: 0}) for name in ("horizon", "knots", "futures")),
        (GuidedPlanner, {"radius": 2.1}),
        *((GuidedPlanner, {name: -1}) for name in ("confirm", "margin", "margin_futures", "patience")),
        (GuidedPlanner, {"margin": float("inf")}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(world, kind, settings):
    needed = {SearchPlanner: {"optimiser": FEW}, GuidedPlanner: {"optimiser": FEW, "prior": world.Towards()}}
    made = needed.get(kind, {})
    kind(**made)
    ((name, value),) = settings.items()
    with pytest.raises(UserError, match=f"^{name}={value} must be "):
        kind(**made, **settings)


def test_a_guided_search_needs_a_prior_and_room_beside_it(world):
    with pytest.raises(UserError, match="prior=null"):
        GuidedPlanner(FEW)
    with pytest.raises(UserError, match="candidates=2 must be at least 3"):
        GuidedPlanner(MPPI(candidates=2), prior=world.Towards())


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        ("default", {"horizon": 0}, "horizon=0 must be at least 1"),
        ("prior", {"memory": "yes"}, "memory='yes' is neither true nor false nor null"),
        ("cem", {"memory": True}, "memory=True: .* has no memory layers"),
        ("default", {"margin": NAN}, "margin=nan must be at least 0"),
        ("default", {"candidates": 2, "elites": 2}, "candidates=2 must be at least 3"),
        ("mppi", {"discount": 0.0}, "discount=0.0 must be above 0 and at most 1"),
        ("cem", {"prior": "unet"}, "prior='unet' is unknown; did you mean prior"),
        ("cem", {"prior": 5}, "prior='5' is unknown; did you mean prior"),
        ("random", {"action_dim": "two"}, "action_dim='two' must be a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_the_agent_is_made(small_checkpoint, agent, settings, message):
    with pytest.raises(UserError, match=message):
        make_agent(agent, small_checkpoint, settings=settings)


@pytest.mark.parametrize("number", [0, 6])
def test_replanning_later_than_the_plan_ends_is_refused(world, number):
    with pytest.raises(UserError, match=f"replan_every={number} must be between 1 and horizon=5"):
        PlanningAgent(world.PointMass(), SearchPlanner(CEM_SMALL, horizon=5), replan_every=number)


def test_frames_that_do_not_fit_and_lanes_without_episode_are_refused(world):
    agent = search(world)
    with pytest.raises(UserError, match="call reset"):
        agent.act([0], np.zeros((1, 1, 2, 3), np.uint8))
    agent.reset([0], ["point"], [1])
    for frames in (np.zeros((2, 1, 2, 3), np.uint8), np.zeros((1, 1, 2, 3), np.float32)):
        with pytest.raises(UserError, match="do not fit"):
            agent.act([0], frames)
