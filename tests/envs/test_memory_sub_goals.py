"""Sub-goal texts of the memory tasks, told without a simulator and by the environment."""

import numpy as np
import pytest

from sfvgen_plan.envs.memory import revisit_task
from sfvgen_plan.envs.memory.family import TASKS, memory_env
from sfvgen_plan.envs.memory.sub_goals import sub_goals_of
from sfvgen_plan.errors import UserError


@pytest.mark.parametrize("task", TASKS)
def test_they_are_what_the_environment_says(task, repeat=8):
    env = memory_env(task, repeat=repeat, pixels=False)
    for seed in (0, 1, 100_000):
        _, info = env.reset(seed=seed)
        schedule = sub_goals_of(task, seed, repeat)
        assert info["sub_goals"] == tuple(text for text, _ in schedule)
        assert sum(decisions for _, decisions in schedule) == env.length
    told = [info["sub_goal"]]
    for _ in range(env.length):
        *_, info = env.step(np.zeros(4, np.float32))
        assert info["sub_goals"][info["sub_goal_index"]] == info["sub_goal"]
        told.append(info["sub_goal"])
    assert told[:-1] == [text for text, decisions in schedule for _ in range(decisions)]
    assert told[-1] == schedule[-1][0]
    with pytest.raises(UserError, match="memory/return"):
        sub_goals_of("reach-v3", 0)


def test_the_texts_of_a_way_say_where_it_leads():
    env = memory_env(revisit_task.NAME, pixels=False)
    for seed in range(5):
        env.reset(seed=seed)
        start = 0
        for text, decisions in env.layout.schedule:
            shift = env.layout.places[start + decisions] - env.layout.places[start]
            start += decisions
            if text == revisit_task.COME_BACK:
                assert np.allclose(env.layout.places[start], env.layout.places[0])
            else:
                direction = np.array(revisit_task.DIRECTIONS[text.removeprefix("look ")])
                assert shift @ direction == pytest.approx(np.abs(shift).max(), abs=1e-6)


def test_to_the_right_is_right_in_the_picture():
    """Moving the camera to the right moves what it sees to the left."""
    env = memory_env(revisit_task.NAME, size=64)
    before, _ = env.reset(seed=0)
    right = np.array([*revisit_task.DIRECTIONS["to the right"], 0, -1], np.float32)
    after = env.step(right)[0]
    env.close()
    columns = before.astype(float).mean((0, 2)), after.astype(float).mean((0, 2))
    errors = {shift: np.abs(columns[0][8 + shift : 56 + shift] - columns[1][8:56]).mean() for shift in range(-8, 9)}
    assert min(errors, key=errors.get) > 0
