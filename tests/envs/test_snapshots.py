"""Snapshots: what follows a restore is what followed the snapshot, bit for bit."""

import pickle

import numpy as np
import pytest

from sfvgen_plan.envs.metaworld.env import MetaworldEnv

# Of the awkward kinds: attributes that alias simulation memory, moved bodies, contact from the start, several objects.
TASKS = ["reach-v3", "door-lock-v3", "drawer-open-v3", "basketball-v3", "peg-insert-side-v3", "coffee-button-v3"]


def play(env, actions):
    rows = []
    for action in actions:
        _, reward, _, truncated, info = env.step(action)
        terms = list(info["reward_terms"].values())
        rows.append([*info["state"], reward, truncated, info["success"], info["success_latched"], *terms])
    return np.array(rows)


@pytest.mark.parametrize("task", TASKS)
def test_replay_is_exact_here_and_elsewhere(task):
    env = MetaworldEnv(task, pixels=False, max_decisions=10)
    actions = np.random.default_rng(0).uniform(-1, 1, (13, 4))
    env.reset(seed=9)
    play(env, actions[:3])
    snapshot = env.snapshot()
    original = play(env, actions[3:])
    env.restore(snapshot)
    assert np.array_equal(play(env, actions[3:]), original)

    env.reset(seed=1)
    env.restore(snapshot)
    assert np.array_equal(play(env, actions[3:]), original), "after another scene"

    other = MetaworldEnv(task, pixels=False, max_decisions=10)
    other.restore(pickle.loads(pickle.dumps(snapshot)))
    assert np.array_equal(play(other, actions[3:]), original), "in an environment that was never reset"
