"""``memory/return``: what is asked for, when it counts as done, and the scene that plays it."""

from dataclasses import replace

import numpy as np
import pytest

from sfvgen_plan.agents.sawyer_experts import MemoryExpert
from sfvgen_plan.envs.memory import return_task
from sfvgen_plan.envs.memory.parts import COLOURS, nearest
from sfvgen_plan.envs.memory.return_task import AWAY_DISTANCE, SUCCESS_DISTANCE, WORKSPACE, MemoryReturnEnv, draw_layout
from sfvgen_plan.envs.memory.scene import SIDE
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def env():
    return MemoryReturnEnv(pixels=False)


def layouts(count=40):
    return [draw_layout(np.random.default_rng(seed), WORKSPACE) for seed in range(count)]


def test_layouts_keep_their_promises():
    drawn = layouts()
    assert {len(layout.objects) for layout in drawn} == {1, 2, 3}
    for layout in drawn:
        moves, returns = layout.sub_goals[: len(layout.objects)], layout.sub_goals[len(layout.objects) :]
        assert not any(goal.back for goal in moves)
        assert all(goal.back for goal in returns)
        assert sorted(goal.index for goal in returns) == [goal.index for goal in moves]
        assert len({thing.colour for thing in layout.objects}) == len(layout.objects)
        assert 60 <= sum(decisions for _, decisions in layout.schedule) <= 150
        places = np.stack([*layout.places, *(goal.place for goal in moves)])
        assert nearest(places) >= return_task.SEPARATION
        assert (places[:, :2] >= WORKSPACE.low).all() and (places[:, :2] <= WORKSPACE.high).all()
        for goal in returns:
            assert np.array_equal(goal.place, layout.places[goal.index])
            assert goal.text == f"put the {layout.objects[goal.index].name} back where it was"


def test_directions_are_those_of_the_picture(env):
    env.reset(seed=0)
    axes = env.scene.data.camera(SIDE).xmat.reshape(3, 3)
    right = axes[:2, 0]
    towards = axes[:2, 2]
    words = {text: np.array(vector) for text, vector in WORKSPACE.directions.items()}
    assert words["to the right"] @ right > 0.9 > 0 > words["to the left"] @ right
    assert words["to the front"] @ towards > 0.5
    assert words["to the back"] @ towards < -0.5


def test_distance_and_success_of_what_was_moved():
    layout = layouts(1)[0]
    away, wrong = layout.places.copy(), layout.places.copy()
    never = np.zeros(len(layout.objects), bool)
    assert (layout.distances(layout.places, never) == AWAY_DISTANCE).all(), "staying is not being back"
    assert not layout.success(layout.places, never)
    for goal in layout.sub_goals[: len(layout.objects)]:
        away[goal.index] = goal.place
        wrong[goal.index] -= AWAY_DISTANCE * np.append(goal.direction, 0)
    moved = layout.moved(away, never)
    assert moved.all() and not layout.moved(wrong, never).any()
    assert np.allclose(layout.distances(away, moved), AWAY_DISTANCE, atol=1e-3)
    assert layout.moved(layout.places, moved).all(), "once moved, always moved"
    near = layout.places + np.array([0.9 * SUCCESS_DISTANCE, 0, 0])
    assert layout.success(near, moved)
    assert not layout.success(layout.places + np.array([1.1 * SUCCESS_DISTANCE, 0, 0]), moved)
    assert np.allclose(layout.distances(near, moved), 0.9 * SUCCESS_DISTANCE)
    with pytest.raises(UserError, match="workspace"):
        draw_layout(np.random.default_rng(1), replace(WORKSPACE, high=(-0.2, 0.5)))


def test_the_expert_solves_it(env):
    expert, counts = MemoryExpert(), set()
    expert.reset(env.task, 0)
    for seed in (0, 1, 11):
        _, info = env.reset(seed=seed)
        counts.add(len(env.layout.objects))
        heard, truncated = [info["sub_goal"]], False
        while not truncated:
            assert not info["success"] or info["sub_goal_index"] > 0
            *_, truncated, info = env.step(expert.act(env))
            heard.append(info["sub_goal"])
        assert info["success"] and info["success_latched"]
        assert info["distance"] < 0.02
        assert tuple(dict.fromkeys(heard)) == info["sub_goals"]
        assert env.decisions == env.length
    assert counts == {1, 2, 3}


def test_state_is_about_the_current_sub_goal(env):
    _, info = env.reset(seed=0)
    layout = env.layout
    for _ in range(layout.schedule[0][1]):
        goal = layout.sub_goals[info["sub_goal_index"]]
        assert np.array_equal(info["state"][4:7], env.positions()[goal.index])
        assert np.array_equal(info["state"][-3:], goal.place)
        *_, info = env.step(np.zeros(4))
    assert info["sub_goal_index"] == 1
    assert np.allclose(info["estimates"], [*info["state"][:7], *info["state"][-3:]])


def test_objects_are_visible_and_of_their_colour():
    env = MemoryReturnEnv()
    for seed in range(2):
        frame = env.reset(seed=seed)[0].astype(int)
        for thing in env.layout.objects:
            colour = np.array(COLOURS[thing.colour])
            seen = frame / np.maximum(frame.sum(-1, keepdims=True), 1)
            close = np.abs(seen - colour / colour.sum()).max(-1) < 0.09
            assert close.sum() >= 12, thing.name
    env.close()
