"""Agents follow their real episodes in one imagined state each, whoever shares their batch."""

import numpy as np
import pytest
import torch

from sfvgen_plan.agents.adapters import DisturbedAgent
from sfvgen_plan.agents.lanes import FollowingAgent
from sfvgen_plan.agents.noise import Stream, draw_seeds
from sfvgen_plan.agents.registry import make_agent
from sfvgen_plan.model.checkpoint import load_checkpoint

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 4, 32, 32, 3), np.uint8)  # of three lanes, four decisions
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (3, 4, 4)).astype(np.float32)
TASKS = ["reach-v3", "push-v3", "reach-v3"]


@pytest.fixture(scope="module")
def simulator(small_checkpoint):
    return load_checkpoint(small_checkpoint).simulator()


def start(lanes, *numbers):
    lanes.reset(numbers, [TASKS[n] for n in numbers], numbers)


def show(lanes, *shown):
    """The state after frame t of each lane n, which then executes its action."""
    numbers = [n for n, _ in shown]
    _, state = lanes.observe(numbers, np.stack([FRAMES[n, t] for n, t in shown]))
    lanes.executed(numbers, [ACTIONS[n, t] for n, t in shown])
    return state


def alone(simulator, n, t):
    """The state of lane n after its frame t, followed in one go."""
    seeds = draw_seeds([(0, n, 0)], Stream.BEGIN, 1)[0]
    state = simulator.begin(FRAMES[[n], :1], [TASKS[n]], seeds)
    if t:
        state = simulator.observe(state, FRAMES[[n], 1 : t + 1], torch.from_numpy(ACTIONS[[n], :t]))
    return state


def assert_same(simulator, state, *shown):
    for place, (n, t) in enumerate(shown):
        own, other = simulator.select(state, [place]).tensors(), alone(simulator, n, t).tensors()
        for name, tensor in own.items():
            torch.testing.assert_close(
                tensor, other[name], atol=1e-4, rtol=1e-4, msg=lambda text, name=name: name + text
            )


def test_lanes_that_come_and_go_are_followed_as_if_each_were_alone(simulator):
    lanes = FollowingAgent(simulator)
    start(lanes, 0, 1)
    for shown in (
        [(0, 0), (1, 0)],
        [(0, 1), (1, 1)],  # the same again
        [(1, 2)],  # one of them
        [(2, 0), (0, 2)],  # the other, behind one that begins
        [(0, 3), (1, 3), (2, 1)],  # all
    ):
        start(lanes, *(n for n, t in shown if n == 2 and not t))
        assert_same(simulator, show(lanes, *shown), *shown)
    start(lanes, 0, 1)  # other episodes in the same lanes
    assert_same(simulator, show(lanes, (1, 0)), (1, 0))
    assert_same(simulator, show(lanes, (0, 0), (1, 1)), (0, 0), (1, 1))


def test_an_agent_is_told_what_is_executed_instead_of_its_action(small_checkpoint):
    agent = make_agent("prior", small_checkpoint)
    assert isinstance(agent, FollowingAgent)
    disturbed = DisturbedAgent(agent, noise=0.5)
    disturbed.reset([0, 1], TASKS[:2], [0, 1])
    executed = np.stack([disturbed.act([0, 1], FRAMES[:2, t]) for t in range(3)])
    _, state = agent.observe([0, 1], FRAMES[:2, 3])
    np.testing.assert_allclose(state.place.numpy(), executed.sum(0), atol=1e-5)


def test_an_agent_remembers_where_the_checkpoint_can_unless_it_is_told_not_to(make_checkpoint):
    recall = {"depth": 1, "window": 1, "memory": "recall", "memory_blocks": [0], "memory_rank": 8}
    checkpoint = make_checkpoint(std=0.3, transformer=recall)

    def acts(first, settings):
        """The fourth action, when the first frame has left the window."""
        agent = make_agent("prior", checkpoint, settings=settings)
        agent.reset([0], ["reach-v3"], [0])
        for frame in [first, *FRAMES[0, 1:]]:
            (action,) = agent.act([0], frame[None])
            agent.executed([0], np.zeros((1, 4), np.float32))
        return action

    for settings, differ in (({}, True), ({"memory": True}, True), ({"memory": False}, False)):
        assert np.allclose(acts(FRAMES[0, 0], settings), acts(FRAMES[1, 0], settings), atol=1e-6) != differ
