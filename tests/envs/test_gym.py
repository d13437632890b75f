"""Any environment of Gymnasium as a task: spaces, frames, steps that are held, ends, and what is refused."""

import re
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sfvgen_plan.actions import Actions
from sfvgen_plan.envs.family import canonical, family_of
from sfvgen_plan.errors import UserError

PYGAME = pytest.mark.skipif(find_spec("pygame") is None, reason="needs pip install '.[gym]'")
BOX2D = pytest.mark.skipif(find_spec("Box2D") is None, reason="needs pip install '.[gym]'")


@pytest.fixture(autouse=True)
def here(monkeypatch, request):
    """Modules in the current folder are found."""
    monkeypatch.chdir(request.config.rootpath / "tests")


def made(task, **arguments):
    return family_of(task).make(task, **arguments).unwrapped


@pytest.mark.parametrize(
    ("space", "actions", "vectors"),
    [
        (gym.spaces.Discrete(3), [0, 2], [[1, 0, 0], [0, 0, 1]]),
        (gym.spaces.Discrete(2, start=-1), [-1, 0], [[1, 0], [0, 1]]),
        (gym.spaces.Box(-2, 4, (1,)), [[-2], [1], [4]], [[-1], [0], [1]]),
        (gym.spaces.Box(np.array([-1, 0]), np.array([1, 1]), dtype=np.float64), [[0.5, 1]], [[0.5, 1]]),
        (gym.spaces.Box(0, 1, (2, 2)), [[[0, 1], [0.5, 0]]], [[-1, 1, 0, -1]]),
        (gym.spaces.Box(-1, 1, (4,), np.float32), [[0.1, -0.2, 1, 0]], [[0.1, -0.2, 1, 0]]),
    ],
)
def test_actions_are_vectors_inside_and_what_the_environment_takes_outside(space, actions, vectors):
    kind = Actions(space)
    inside = kind.inside(actions)
    assert (inside.dtype, inside.shape, kind.dim) == (np.float32, np.shape(vectors), len(vectors[0]))
    np.testing.assert_allclose(inside, vectors, atol=1e-6)
    np.testing.assert_allclose(kind.outside(inside), actions, atol=1e-6)
    assert all(space.contains(kind.outside(vector)) for vector in inside)
    assert Actions.of(None if kind.plain else kind.stored(), kind.dim) == kind


def test_of_any_vector_the_largest_number_is_played_and_other_spaces_are_no_actions():
    kind = Actions(gym.spaces.Discrete(3))
    assert kind.outside(np.array([[-0.3, -0.1, -0.2], [0, 0, 1]])).tolist() == [1, 2]
    assert kind.played(np.array([0.1, 0.9, 0.8])).tolist() == [0, 1, 0]
    many, endless = gym.spaces.MultiDiscrete([2, 2]), gym.spaces.Box(-np.inf, np.inf, (2,))
    for space in (many, endless, gym.spaces.Box(0, 9, (2,), int)):
        with pytest.raises(UserError, match="action_space"):
            Actions(space)


@pytest.mark.parametrize(
    ("task", "space"),
    [
        ("gym:dot_env:Dot-v0", gym.spaces.Discrete(3)),
        ("gym:dot_env:DotBox-v0", gym.spaces.Box(-2, 4, (1,), np.float64)),
        pytest.param("gym:Pendulum-v1", gym.spaces.Box(-2, 2, (1,), np.float32), marks=PYGAME),
        pytest.param("gym:LunarLander-v3", gym.spaces.Discrete(4), marks=BOX2D),
        pytest.param("gym:CarRacing-v3", gym.spaces.Box(np.array([-1, 0, 0], np.float32), 1), marks=BOX2D),
        ("gym:InvertedPendulum-v5", gym.spaces.Box(-3, 3, (1,), np.float32)),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of the environments themselves
def test_an_environment_is_a_task_with_its_own_actions(task, space):
    family = family_of(task)
    assert canonical(task) == family.name == task
    assert Actions.of(family.source.actions, family.action_dim).space == space
    env = made(task, size=32, repeat=2, max_decisions=3)
    assert env.action_space == space and env.task == task
    check_env(env, skip_render_check=True)
    frame, info = env.reset(seed=1)
    assert frame.shape == (32, 32, 3) and frame.std() > 0
    assert len(info["estimates"]) == len(family.source.readouts)
    env.close()


@BOX2D
def test_arguments_are_given_where_a_module_registers_it(tmp_path, monkeypatch, request):
    page = (request.config.rootpath / "docs" / "own_environment.md").read_text()
    (tmp_path / "racing.py").write_text("import gymnasium as gym\n" + re.findall(r"`(gym\.register\(.*?\))`", page)[0])
    monkeypatch.chdir(tmp_path)
    assert made("gym:racing:Racing-v0", pixels=False).action_space == gym.spaces.Discrete(5)


def test_a_decision_is_held_and_its_rewards_are_summed_up_to_the_end():
    env = made("gym:dot_env:Dot-v0", size=16, repeat=4)
    env.reset(seed=0)
    env.own.unwrapped.place = 10.0
    _, reward, terminated, truncated, info = env.step(1)
    assert (reward, terminated, truncated, env.own.unwrapped.place) == (-4.0, False, False, 10.0)
    assert info["estimates"].tolist() == [10.0, 0.0]
    env.own.unwrapped.place = 3.0
    _, reward, terminated, _, _ = env.step(0)
    assert (reward, terminated) == (-2.0, True)
    # Episodes are cut off by either limit.
    for arguments, length in (({"max_decisions": 2}, 2), ({"repeat": 5}, 3)):
        env = made("gym:dot_env:Dot-v0", pixels=False, **arguments)
        env.reset(seed=0)
        ends = [env.step(1)[3] for _ in range(length)]
        assert ends == [False] * (length - 1) + [True]


def test_a_camera_of_mujoco_shows_something_else():
    pictures = []
    for camera in ("default", "track"):
        env = made("gym:HalfCheetah-v5", size=32, camera=camera)
        pictures.append(env.reset(seed=0)[0])
        env.close()
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1


def test_what_cannot_be_made_is_said_in_one_line_and_actions_that_are_none_refused():
    for task, arguments, said in (
        ("gym:Pendulam-v1", {}, "task='gym:Pendulam-v1'"),
        ("gym:no_such_module:Dot-v0", {}, "task='gym:no_such_module:Dot-v0'"),
        ("gym:dot_env:Dot-v0", {"camera": "side"}, "camera='side'"),
        ("gym:dot_env:Dot-v0", {"repeat": 0}, "repeat=0"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            made(task, **arguments)
        assert "\n" not in str(caught.value)
    env = made("gym:dot_env:Dot-v0", pixels=False)
    env.reset(seed=0)
    for action in (-1, 3, 0.5, np.nan, "left", [0, 1]):
        with pytest.raises(UserError, match="action"):
            env.step(action)
