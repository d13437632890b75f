"""Planners by behaviour, on a point that must reach its goal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.acceptance import Acceptance
from sfvgen_plan.agents.base import BatchAgent
from sfvgen_plan.agents.cem import CEM
from sfvgen_plan.agents.guided import GuidedPlanner, TrustRegion
from sfvgen_plan.agents.mppi import MPPI
from sfvgen_plan.agents.noise import Stream, smooth_noise
from sfvgen_plan.agents.objective import Objective
from sfvgen_plan.agents.planning import PlanningAgent
from sfvgen_plan.agents.players.random import RandomAgent
from sfvgen_plan.agents.prior import PriorAgent
from sfvgen_plan.agents.rollout import shift
from sfvgen_plan.agents.search import SearchPlanner
from sfvgen_plan.errors import UserError
from sfvgen_plan.simulation import Outcome

SEEDS = list(range(12))
CEM_SMALL = CEM(samples=32, iterations=3, elites=4)
MPPI_SMALL = MPPI(samples=32, iterations=3)
OPEN = Acceptance()
"""Accepts every imagined gain."""


def search(world, optimiser=CEM_SMALL, simulator=None, **settings) -> PlanningAgent:
    planner = SearchPlanner(optimiser, horizon=5, knots=3, **settings)
    return PlanningAgent(simulator or world.PointMass(), planner)


def guided(world, prior, simulator=None, revisits=None, **settings) -> PlanningAgent:
    planner = GuidedPlanner(prior, **{"acceptance": OPEN, "futures": 1, "confirm": 0, **settings})
    return PlanningAgent(simulator or world.PointMass(), planner, revisits=revisits)


@pytest.mark.parametrize("optimiser", [CEM_SMALL, replace(CEM_SMALL, answer="best"), MPPI_SMALL])
def test_search_finds_the_goal_where_random_does_not(world, optimiser):
    planned = world.successes(world.play(search(world, optimiser), SEEDS))
    assert planned == len(SEEDS)
    assert world.successes(world.play(RandomAgent(action_dim=2), SEEDS)) < planned / 2


@pytest.mark.parametrize("optimiser", [CEM_SMALL, MPPI_SMALL])
def test_search_may_start_at_a_prior(world, optimiser):
    agent = search(world, optimiser, prior=world.Towards())
    assert world.successes(world.play(agent, SEEDS)) == len(SEEDS)


def test_planning_around_a_perfect_prior_is_never_later_than_the_prior(world):
    alone = world.play(PriorAgent(world.PointMass(), world.Towards()), SEEDS)
    for answer in ("mean", "best"):
        planned = world.play(guided(world, world.Towards(), answer=answer), SEEDS)
        for mine, prior in zip(planned, alone, strict=True):
            assert mine.solved_at is not None and prior.solved_at is not None
            assert mine.solved_at <= prior.solved_at


def test_planning_repairs_a_biased_prior(world):
    biased = world.Towards(offset=(0.2, 0.1))
    assert world.successes(world.play(PriorAgent(world.PointMass(), biased), SEEDS)) <= len(SEEDS) // 2
    for settings in ({}, {"feedback": True}, {"answer": "best"}, {"iterations": 2}, {"futures": 2, "confirm": 2}):
        assert world.successes(world.play(guided(world, biased, **settings), SEEDS)) == len(SEEDS), settings


def test_planning_speeds_up_a_slow_prior(world):
    slow = world.Towards(gain=0.15)
    alone = world.play(PriorAgent(world.PointMass(), slow), SEEDS, decisions=30)
    planned = world.play(guided(world, slow), SEEDS, decisions=30)
    assert sum(e.solved_at for e in planned) < 0.8 * sum(e.solved_at for e in alone)


def test_the_prior_plays_where_no_plan_beats_the_margin(world):
    biased = world.Towards(offset=(0.3, 0.0))
    alone = world.play(PriorAgent(world.PointMass(), biased), SEEDS)
    planned = world.play(guided(world, biased, acceptance=Acceptance(margin=100.0)), SEEDS)
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(planned, alone, strict=True))


def test_the_prior_plays_alone_until_patience_ends(world):
    biased = world.Towards(offset=(0.2, 0.1))
    agent = guided(world, biased, acceptance=Acceptance(patience=3))
    alone = world.play(PriorAgent(world.PointMass(), biased), SEEDS)
    planned = world.play(agent, SEEDS)
    assert all(np.array_equal(a.actions[:3], b.actions[:3]) for a, b in zip(planned, alone, strict=True))
    assert world.successes(planned) > world.successes(alone)


def test_patience_costs_nothing_and_lanes_out_of_step_keep_their_own_cost(world):
    agent = guided(world, world.Towards(), acceptance=Acceptance(patience=2))
    frame = world.picture(np.array([0.1, 0.2]), np.array([0.5, 0.5]))[None]
    agent.reset([0], ["point"], [1])
    for _ in range(2):
        agent.act([0], frame)
    assert agent.stats(0).imagined_decisions == 0
    agent.reset([1], ["point"], [2])
    agent.act([0, 1], np.repeat(frame, 2, axis=0))
    assert agent.stats(0).imagined_decisions > 0
    assert agent.stats(1).imagined_decisions == agent.stats(1).denoiser_calls == 0


def test_confirming_in_fresh_futures_keeps_the_prior_more_often_under_noise(world):
    """The best of many candidates in one noisy future is partly the luckiest. Unshared noise makes that visible."""

    def kept(confirm: int) -> int:
        agent = guided(
            world,
            world.Towards(),
            world.PointMass(noise=0.1),
            answer="best",
            shared_noise=False,
            confirm=confirm,
            acceptance=Acceptance(margin_futures=1.0),
        )
        alone = world.play(PriorAgent(world.PointMass(), world.Towards()), SEEDS, decisions=1)
        played = world.play(agent, SEEDS, decisions=1)
        return sum(np.allclose(a.actions, b.actions) for a, b in zip(played, alone, strict=True))

    assert kept(confirm=8) > kept(confirm=0)


def test_offsets_stay_inside_the_trust_region(world):
    trust = TrustRegion(radius=0.1, wide=0, sigma=5.0)
    prior = world.Towards(gain=0.0)
    played = world.play(guided(world, prior, trust=trust, answer="best"), SEEDS)
    assert max(np.abs(episode.actions).max() for episode in played) <= 0.1 + 1e-6


def test_a_single_elite_is_enough(world):
    planned = world.play(guided(world, world.Towards(offset=(0.2, 0.1)), elites=1), SEEDS)
    assert world.successes(planned) == len(SEEDS)


def test_a_plan_is_shifted_by_the_decisions_executed():
    plan = torch.arange(4.0)[:, None]
    assert shift(plan, 1).flatten().tolist() == [1, 2, 3, 3]
    assert shift(plan, 3).flatten().tolist() == [3, 3, 3, 3]


def test_the_trust_region_grows_with_the_episode():
    trust = TrustRegion(radius=0.2, wide_radius=0.5, wide=1, growth=0.5, growth_after=10)
    radii = trust.radii(3, torch.tensor([0, 10, 12, 1000])).flatten(1)
    expected = torch.tensor([[0.2, 0.2, 0.5], [0.2, 0.2, 0.5], [0.4, 0.4, 1.0], [2.0, 2.0, 2.0]])
    torch.testing.assert_close(radii, expected)


def test_only_the_first_decisions_are_changed():
    trust = TrustRegion(decisions=2)
    assert trust.mask(torch.ones(1, 1, 4, 2))[0, 0, :, 0].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_revisits_make_the_agent_search_where_the_simulator_is_wrong(world):
    """The simulator sees the goal 0.25 beside where it is: without memory of its failures the agent waits there."""
    simulator = world.PointMass(goal_error=(0.18, 0.18))
    trust = TrustRegion(radius=0.8, wide=4, wide_radius=2.0)
    waiting = world.play(guided(world, world.Towards(), simulator, trust=trust), SEEDS, decisions=40)
    searching = world.play(guided(world, world.Towards(), simulator, revisits=0.1, trust=trust), SEEDS, decisions=40)
    assert world.successes(searching) >= world.successes(waiting) + len(SEEDS) // 3


AGENTS = {
    "cem": lambda world: search(world, simulator=world.PointMass(noise=0.05)),
    "mppi": lambda world: search(world, MPPI_SMALL, world.PointMass(noise=0.05), prior=world.Towards(gain=0.3)),
    "futures": lambda world: search(world, simulator=world.PointMass(noise=0.05), futures=3),
    "guided": lambda world: guided(
        world, world.Towards((0.2, 0.0)), world.PointMass(noise=0.05), 0.1, futures=2, confirm=2, iterations=2
    ),
    "feedback": lambda world: guided(world, world.Towards((0.2, 0.0)), world.PointMass(noise=0.05), feedback=True),
    "unshared": lambda world: search(world, simulator=world.PointMass(noise=0.05), shared_noise=False),
    "prior": lambda world: PriorAgent(world.PointMass(), world.Towards()),
    "random": lambda world: RandomAgent(action_dim=2),
}


@pytest.mark.parametrize("name", AGENTS)
def test_an_episode_does_not_depend_on_its_neighbours(world, name):
    together = world.play(AGENTS[name](world), [7, 3, 5], decisions=5)
    for seed, episode in zip([7, 3, 5], together, strict=True):
        (alone,) = world.play(AGENTS[name](world), [seed], decisions=5)
        np.testing.assert_allclose(episode.actions, alone.actions, atol=1e-5)


@pytest.mark.parametrize("name", ["cem", "guided", "random"])
def test_the_same_seed_plays_the_same_episode_again(world, name):
    agent = AGENTS[name](world)
    first, again = (world.play(agent, [3], decisions=4)[0].actions for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_agents_own_seed_changes_its_search(world):
    def actions(seed: int) -> np.ndarray:
        planner = SearchPlanner(CEM_SMALL, horizon=5, knots=3)
        return world.play(PlanningAgent(world.PointMass(), planner, seed=seed), [3], decisions=2)[0].actions

    assert not np.array_equal(actions(0), actions(1))


def test_lanes_may_be_out_of_step(world):
    """A lane that starts while another is under way plays what it would have played alone."""
    agent = search(world, simulator=world.PointMass(noise=0.05))
    alone = world.play(search(world, simulator=world.PointMass(noise=0.05)), [4], decisions=1)[0].actions[0]
    frame, other = (world.picture(*np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2))) for seed in (4, 9))
    agent.reset([0], ["point"], [9])
    agent.act([0], other[None])
    agent.reset([5], ["point"], [4])
    both = agent.act([0, 5], np.stack([other, frame]))
    np.testing.assert_allclose(both[1], alone, atol=1e-5)


def test_replanning_every_decision_beats_executing_plans_blindly(world):
    """With a simulator that is wrong about the goal, feedback does not help; with one that drifts, it does."""

    def error(replan_every: int) -> float:
        planner = SearchPlanner(CEM_SMALL, horizon=6, knots=3)
        agent = PlanningAgent(world.PointMass(noise=0.1), planner, replan_every=replan_every)
        played = world.play(agent, SEEDS, decisions=12)
        goals = [np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 2))[1] for seed in SEEDS]
        return sum(np.linalg.norm(e.places[6:] - goal, axis=1).mean() for e, goal in zip(played, goals, strict=True))

    assert error(1) < error(6)


def test_the_cost_of_an_episode_is_counted(world):
    simulator = world.PointMass()
    agent = search(world, simulator=simulator)
    world.play(agent, [1, 2], decisions=3)
    cost = agent.stats(0)
    assert cost.imagined_decisions == 3 * 3 * 32 * 5
    assert cost.denoiser_calls == simulator.denoiser_calls == 9
    assert cost.plan_seconds > 0
    assert simulator.largest_batch == 2 * 32
    agent.reset([0], ["point"], [3])
    assert agent.stats(0).imagined_decisions == 0
    assert agent.stats(1).imagined_decisions > 0


def test_plans_are_imagined_in_chunks_if_asked(world):
    simulator = world.PointMass()
    whole, chunked = search(world), search(world, simulator=simulator, chunk=2)
    first, second = (world.play(agent, [1], decisions=2)[0].actions for agent in (whole, chunked))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert simulator.denoiser_calls == 2 * 3 * 3


def test_smooth_noise_has_unit_variance_and_is_correlated_in_time():
    keys = [(0, seed, 0) for seed in range(4)]
    settings = dict(rounds=2, samples=500, horizon=6, action_dim=2, device="cpu")
    smooth = smooth_noise(keys, Stream.CANDIDATES, knots=2, **settings)
    white = smooth_noise(keys, Stream.CANDIDATES, knots=6, **settings)
    torch.testing.assert_close(smooth.std((0, 1, 2, 4)), torch.ones(6), atol=0.05, rtol=0)
    assert (smooth[..., :-1, :] * smooth[..., 1:, :]).mean() > 0.7
    assert (white[..., :-1, :] * white[..., 1:, :]).mean().abs() < 0.05


def outcome(reward, success, value) -> Outcome:
    as_rows = [torch.tensor([row], dtype=torch.float32) for row in (reward, success, value)]
    return Outcome(*as_rows, estimates=torch.zeros(1, len(reward), 10))


def test_objective_adds_its_weighted_terms():
    imagined = outcome([10.0, 0.0], [0.5, 1.0], [0.1, 0.8])
    only = dict(reward=0.0, success=0.0, value=0.0, gamma=0.5)
    assert Objective(**{**only, "reward": 1.0}).score(imagined).item() == pytest.approx(1 / 1.5)
    assert Objective(**{**only, "reward": 1.0}, reward_scale=1.0).score(imagined).item() == pytest.approx(10 / 1.5)
    assert Objective(**{**only, "success": 1.0}).score(imagined).item() == pytest.approx(0.5 + 0.5 * 0.5)
    assert Objective(**{**only, "value": 2.0}).score(imagined).item() == pytest.approx(1.6)


def test_disagreeing_futures_lower_the_score():
    scores = torch.tensor([[[1.0, 0.9], [0.0, 0.9]]])
    assert Objective(disagreement=1.0).combine(scores).argmax(1).item() == 1
    assert Objective().combine(scores)[0].tolist() == pytest.approx([0.5, 0.9])


class Remembering:
    """Adds fast learning to a point world: the memory is what it was given."""

    def remember_frames(self, memories, frames, actions, tasks, seeds):
        assert torch.is_inference_mode_enabled() is False
        self.chunks.append((list(memories), frames.copy(), actions.copy()))
        return [f"{seed}:{len(self.chunks)}" for seed in seeds]

    def recall(self, state, memories):
        self.recalled.append(list(memories))
        return state


def test_real_chunks_are_remembered_and_recalled(world):
    class World(Remembering, world.PointMass):
        chunks: list = []  # noqa: RUF012
        recalled: list = []  # noqa: RUF012

    simulator = World()
    agent = PlanningAgent(simulator, SearchPlanner(CEM_SMALL, horizon=3, knots=2), memory_every=2)
    (played,) = world.play(agent, [6], decisions=6)
    assert [memories for memories, _, _ in simulator.chunks] == [[None], ["6:1"]]
    assert [chunk.shape for _, chunk, _ in simulator.chunks] == [(1, 2 + 2, 1, 2, 3)] * 2
    np.testing.assert_array_equal(simulator.chunks[1][2][0], played.actions[2:4])
    np.testing.assert_array_equal(simulator.chunks[0][1][:, -2:], simulator.chunks[1][1][:, :2])
    assert simulator.recalled == [["6:1"]] * 2 + [["6:2"]] * 2


def test_a_new_episode_in_a_lane_starts_without_memories(world):
    agent = guided(world, world.Towards((0.2, 0.0)), revisits=0.1)
    first = world.play(agent, [3], decisions=3)[0].actions
    world.play(agent, [8], decisions=3)
    np.testing.assert_array_equal(first, world.play(agent, [3], decisions=3)[0].actions)


def test_memory_needs_a_simulator_that_remembers(world):
    with pytest.raises(UserError, match="memory=true needs"):
        PlanningAgent(world.PointMass(), SearchPlanner(CEM_SMALL, horizon=3, knots=2), memory_every=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CEM(samples=1), "samples=1"),
        (lambda: CEM(elites=0), "elites=0"),
        (lambda: MPPI(temperature=0.0), "temperature=0.0"),
        (lambda: MPPI(answer="median"), "answer='median'"),
        (lambda: Objective(gamma=1.5), "gamma=1.5"),
        (lambda: SearchPlanner(CEM_SMALL, horizon=4, knots=5), "knots=5"),
        (lambda: GuidedPlanner(None, candidates=3), "candidates=3"),
        (lambda: TrustRegion(radius=-1.0), "trust.radius=-1.0"),
        (lambda: Acceptance(margin=-0.1), "acceptance.margin=-0.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_frames_that_do_not_fit_and_lanes_without_episode_are_refused(world):
    agent = search(world)
    with pytest.raises(UserError, match="call reset"):
        agent.act([0], np.zeros((1, 1, 2, 3), np.uint8))
    agent.reset([0], ["point"], [1])
    with pytest.raises(UserError, match="do not fit"):
        agent.act([0], np.zeros((2, 1, 2, 3), np.uint8))
    with pytest.raises(UserError, match="do not fit"):
        agent.act([0], np.zeros((1, 1, 2, 3), np.float32))


def test_agents_are_batch_agents(world):
    assert isinstance(search(world), BatchAgent)
    assert isinstance(PriorAgent(world.PointMass(), world.Towards()), BatchAgent)
