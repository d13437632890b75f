"""``memory/revisit``: paths that come back, and frames that are the same when they do."""

from dataclasses import replace

import numpy as np
import pytest

from sfvgen_plan.agents.behaviour import ExpertAgent
from sfvgen_plan.envs.memory import revisit_task
from sfvgen_plan.envs.memory.parts import nearest
from sfvgen_plan.envs.memory.revisit_task import FARTHEST_AT_LEAST, HIGH, LOW, MemoryRevisitEnv, draw_layout
from sfvgen_plan.envs.memory.scene import METRES_PER_ACTION
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def env():
    return MemoryRevisitEnv(pixels=False)


def layouts(env, count=30):
    return [draw_layout(np.random.default_rng(seed), METRES_PER_ACTION * env.repeat) for seed in range(count)]


def test_paths_leave_and_come_back(env):
    drawn = layouts(env)
    for layout in drawn:
        assert 40 <= len(layout.actions) <= 200
        assert np.abs(layout.actions).max() <= 1
        assert np.allclose(layout.places[-1], layout.places[0], atol=1e-6)
        assert np.linalg.norm(layout.places - layout.places[0], axis=1).max() >= FARTHEST_AT_LEAST - 1e-6
        assert (layout.places >= LOW - 1e-6).all()
        assert (layout.places <= HIGH + 1e-6).all()
        home = np.abs(layout.places - layout.places[0]).max(1) < 1e-6
        assert home.sum() >= 3, "the start and the end of at least two ways back"
    assert len({len(layout.actions) for layout in drawn}) > 10
    visits = [np.bincount(layout.first_visits[layout.first_visits > 0]).max() for layout in drawn]
    assert max(visits) >= 3, "some far places are seen again on a later way"
    with pytest.raises(UserError, match="repeat"):
        MemoryRevisitEnv(repeat=1, pixels=False).reset(seed=0)


def test_first_visits_of_a_small_path(env):
    layout = layouts(env, 1)[0]
    step = np.array([[0.5, 0.0], [0.5, 0.0], [-0.5, 0.0], [-0.5, 0.0], [0.5, 0.0]], np.float32)
    places = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
    small = replace(layout, actions=step, places=places)
    assert small.first_visits.tolist() == [-1, -1, -1, 1, 0, 1]
    assert small.revisits().tolist() == [[1, 3], [0, 4], [1, 5]]
    assert small.revisits(away=4).tolist() == [[0, 4], [1, 5]]


def test_objects_are_distinct_and_apart(env):
    scenes = set()
    for layout in layouts(env):
        names = [thing.name for thing in layout.objects]
        assert len(names) == len(set(names)) == revisit_task.OBJECTS
        places = np.array([thing.place for thing in layout.objects])
        assert nearest(places) > 0.06
        scenes.add(frozenset(names))
    assert len(scenes) == 30


def test_following_the_path_comes_back(env):
    expert = ExpertAgent()
    expert.reset(env.task, 0)
    _, info = env.reset(seed=4)
    path, visits = env.path, env.layout.first_visits
    assert len(visits) == len(path) + 1
    truncated, rewards = False, []
    while not truncated:
        action = path[env.decisions]
        assert np.array_equal(action, expert.act(env))
        _, reward, _, truncated, info = env.step(action)
        rewards.append(reward)
        assert info["success"] == truncated
    assert env.decisions == len(path)
    assert np.mean(rewards) > 8
    env.reset(seed=4)
    for _ in path:
        *_, truncated, info = env.step(np.array([1, 0, 0, 0]))
    assert truncated and not info["success_latched"], "who leaves it is not back"
