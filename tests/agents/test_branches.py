"""How far a learned simulator is trusted."""

from types import SimpleNamespace

import numpy as np
import pytest

from sfvgen_plan.agents.training import trusted

LENGTH, EPISODES = 12, 8


@pytest.fixture
def episodes(world):
    """Random motion in the real point world."""
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (EPISODES, LENGTH, 2)).astype(np.float32)
    begun = random.uniform(-0.5, 0.5, (EPISODES, 1, 2))
    goals = random.uniform(-0.5, 0.5, (EPISODES, 1, 2))
    places = np.concatenate([begun, begun + 0.2 * actions.cumsum(1)], axis=1)
    pictures = [world.picture(place, goals[e, 0]) for e in range(EPISODES) for place in places[e]]
    number = np.arange(EPISODES)
    return SimpleNamespace(
        frames=np.stack(pictures),
        episode_start=number * (LENGTH + 1),
        action_start=number * LENGTH,
        lengths=np.full(EPISODES, LENGTH),
        actions=actions.reshape(-1, 2),
        reward=(10 / (1 + np.linalg.norm(places[:, 1:] - goals, axis=-1))).ravel(),
        task=np.zeros(EPISODES, int),
        tasks=["point"],
        descriptions=[""] * EPISODES,
    )


def test_the_worse_the_simulator_the_shorter_it_is_trusted(world, episodes):
    def length(noise, longest=6):
        checkpoint = SimpleNamespace(simulator=lambda: world.PointMass(noise), told=lambda task, description: task)
        return trusted(checkpoint, episodes, longest)

    assert length(0.0) == 6 and length(0.0, 50) == LENGTH // 2
    assert 1 < length(0.1) < 6
    assert length(3.0) == 1
