"""Planners by behaviour, on a point that must reach its goal."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from points import PointMass, Towards, play, successes

from sfvgen_plan.agents.base import BatchAgent
from sfvgen_plan.agents.lanes import PriorAgent, RandomAgent
from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.planning import PlanningAgent, shift
from sfvgen_plan.agents.players.planners import Cem, Default
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.agents.search import Objective, cem, mppi
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome

SEEDS = list(range(12))
SCORE = Objective()
CEM_SMALL = Cem(horizon=5, candidates=32, iterations=3, elites=4, sigma=0.6)
MPPI_SMALL = Default(horizon=5, candidates=32, iterations=3, sigma=0.5, prior_share=0.5, temperature=0.02)


def planning(settings=MPPI_SMALL, noise=0.0, score=SCORE, prior=None, agent=None, **changes):
    """The agent that searches with these settings; ``agent``: its own."""
    settings = replace(settings, **changes)
    kind, guide = (cem, ()) if isinstance(settings, Cem) else (mppi, (prior,))
    plan = partial(kind, settings, lambda task: score, *guide)
    return PlanningAgent(PointMass(noise), plan, settings.horizon, **agent or {})


def alone(prior, seeds=SEEDS, **options):
    return play(PriorAgent(PointMass(), prior), seeds, **options)


@pytest.mark.parametrize("settings", [CEM_SMALL, MPPI_SMALL, replace(MPPI_SMALL, futures=2, penalty=0.1)])
def test_search_finds_the_goal_where_random_does_not(settings):
    planned = successes(play(planning(settings), SEEDS))
    assert planned == len(SEEDS)
    assert successes(play(RandomAgent(action_dim=2), SEEDS)) < planned / 2


def test_planning_repairs_a_biased_prior_and_is_never_much_later_than_a_good_one():
    biased = Towards(offset=(0.2, 0.1))
    assert successes(alone(biased)) <= len(SEEDS) // 2
    agent = planning(iterations=1, prior=biased)
    assert successes(play(agent, SEEDS)) == len(SEEDS)
    planned = play(planning(prior=Towards()), SEEDS)
    for mine, prior in zip(planned, alone(Towards()), strict=True):
        assert mine.solved_at is not None and prior.solved_at is not None
        assert mine.solved_at <= prior.solved_at + 1


def test_where_nothing_is_to_be_gained_a_plan_is_the_priors_own():
    prior = Towards(gain=0.1)
    agent = planning(prior=prior, candidates=400, iterations=1, sigma=0.1, score=lambda o: 0 * o.value[:, -1])
    for mine, own in zip(play(agent, SEEDS, decisions=1), alone(prior, decisions=1), strict=True):
        np.testing.assert_allclose(mine.actions, own.actions, atol=0.03)


def test_the_penalty_avoids_what_differs_from_future_to_future():
    """One half of the plane is as good as the other, but in one of them nobody knows what will be seen."""

    def in_the_fog(penalty):
        agent = planning(sigma=1.0, futures=2, penalty=penalty, score=lambda o: 0 * o.value[:, 0])
        agent.simulator.fog = True
        return np.mean([episode.places[1:, 0] > 0 for episode in play(agent, SEEDS[:6])])

    assert in_the_fog(1.0) < in_the_fog(0.0) - 0.2


@pytest.mark.parametrize("settings", [CEM_SMALL, MPPI_SMALL])
def test_an_objective_of_ones_own_leads_elsewhere(settings):
    agent = planning(settings, score=lambda outcome: outcome.estimates[:, :, 0].mean(1))
    played = play(agent, SEEDS)
    assert all(episode.places[-1, 0] > episode.places[0, 0] + 1.0 for episode in played)
    with pytest.raises(UserError, match=r"objective gives scores of shape \(32, 5\) for 32 episodes; give one each"):
        play(planning(settings, score=lambda outcome: outcome.reward), [1])


def test_a_search_goes_on_from_the_last_plan_shifted_by_the_decisions_executed():
    """With hardly any noise a search can only stay where it starts, so plans get better from decision to decision."""
    assert [shift(torch.arange(4.0)[:, None], n).flatten().tolist() for n in (1, 3)] == [[1, 2, 3, 3], [3] * 4]
    timid = planning(candidates=8, iterations=1, sigma=0.1)
    first, later = (play(timid, SEEDS, decisions=count) for count in (2, 25))
    early = np.mean([np.abs(episode.actions).max() for episode in first])
    assert np.mean([np.abs(episode.actions).max() for episode in later]) > 2 * early


AGENTS = {
    "cem": lambda: planning(CEM_SMALL, 0.05),
    "mppi": lambda: planning(noise=0.05, prior=Towards((0.2, 0.0), gain=0.3)),
    "futures": lambda: planning(noise=0.05, futures=3, penalty=0.5),
    "prior": lambda: PriorAgent(PointMass(), Towards()),
    "random": lambda: RandomAgent(action_dim=2),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_depends_on_its_seed_alone(name):
    agent = AGENTS[name]()
    assert isinstance(agent, BatchAgent)
    together = play(agent, [7, 3, 5], decisions=5)
    for seed, episode in zip([7, 3, 5], together, strict=True):
        (single,) = play(AGENTS[name](), [seed], decisions=5)
        np.testing.assert_allclose(episode.actions, single.actions, atol=1e-5)
    first, again = (play(agent, [3], decisions=5)[0].actions for _ in range(2))
    np.testing.assert_array_equal(first, again)
    if name == "cem":  # the agent's own seed changes its search
        (other,) = play(planning(CEM_SMALL, 0.05, agent={"seed": 1}), [3], decisions=5)
        assert not np.array_equal(first, other.actions)


def test_replanning_every_decision_beats_executing_plans_blindly():
    def error(replan_every):
        agent = planning(CEM_SMALL, noise=0.1, agent={"replan_every": replan_every})
        played = play(agent, SEEDS, decisions=12)
        goals = [np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2))[1] for seed in SEEDS]
        return sum(np.linalg.norm(e.places[6:] - goal, axis=1).mean() for e, goal in zip(played, goals, strict=True))

    assert error(1) < error(5)


def test_the_cost_of_an_episode_is_counted():
    agent = planning(CEM_SMALL)
    simulator = agent.simulator
    play(agent, [1, 2], decisions=3)
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
    ("settings", "reward"), [({}, 10 / 1.95), ({"reward_scale": 10.0}, 1 / 1.95), ({"reward_weight": 0.0}, 0.0)]
)
def test_objective_adds_its_terms(settings, reward):
    rows = [torch.tensor([row]) for row in ([10.0, 0.0], [0.5, 1.0], [0.1, 0.8])]
    imagined = Outcome(*rows, estimates=torch.zeros(1, 2, 10))
    assert Objective(**settings)(imagined).item() == pytest.approx(reward + (0.5 + 0.95 * 0.5) + 0.8)


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((Cem, {name: 0}) for name in ("horizon", "candidates", "iterations", "sigma", "elites")),
        *((Default, {name: -1}) for name in ("futures", "penalty", "prior_share")),
        (Cem, {"elites": 33}),
        (Default, {"temperature": NAN}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(kind, settings):
    ((name, value),) = settings.items()
    with pytest.raises(UserError, match=f"^{name}={value} must be "):
        kind(**settings)


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        ("prior", {"memory": "yes"}, "memory='yes' is neither true nor false nor null"),
        ("cem", {"memory": True}, "memory=True: .* has no memory layers"),
        ("default", {"penalty": 0.5}, "penalty=0.5 needs futures that differ; give futures of at least 2"),
        ("default", {"prior": "unet"}, "prior='unet' is unknown; did you mean prior"),
        ("cem", {"objective": "nowhere:score"}, "objective='nowhere:score' can't be imported"),
        ("cem", {"objective": "math:pi"}, "objective='math:pi' is no function"),
        ("oracle", {"objective": "math:pie"}, "objective='math:pie': attribute='pie' is unknown"),
        ("video", {"horizon": 0}, "horizon=0 must be at least 1"),
        ("video", {"sub_goals": "rules"}, "sub_goals='rules' is unknown"),
        ("video", {"replan_every": 9}, "replan_every=9 must be between 1 and horizon=8"),
        ("default", {"replan_every": 0}, "replan_every=0 must be between 1 and horizon=5"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_the_agent_is_made(small_checkpoint, agent, settings, message):
    with pytest.raises(UserError, match=message):
        make_agent(agent, small_checkpoint, settings=settings)


def test_frames_that_do_not_fit_and_lanes_without_episode_are_refused():
    agent = planning()
    with pytest.raises(UserError, match="call reset"):
        agent.act([0], np.zeros((1, 1, 2, 3), np.uint8))
    agent.reset([0], ["point"], [1])
    for frames in (np.zeros((2, 1, 2, 3), np.uint8), np.zeros((1, 1, 2, 3), np.float32)):
        with pytest.raises(UserError, match="do not fit"):
            agent.act([0], frames)
