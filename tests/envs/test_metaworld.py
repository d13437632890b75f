"""The real environment: seeds, spaces, repeats, rewards, bad input."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sfvgen_plan.envs  # noqa: F401 - registers the environments
from sfvgen_plan.envs.metaworld.env import MetaworldEnv
from sfvgen_plan.errors import UserError


@pytest.fixture(scope="module")
def env():
    return MetaworldEnv("drawer-open-v3", pixels=False)


def test_gymnasium_has_nothing_to_complain_about():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("sfvgen/Metaworld-v0", task="metaworld/push-v3", size=32)
        check_env(env.unwrapped)
        env.close()


def test_spaces():
    env = MetaworldEnv("reach-v3", size=24)
    observation, _ = env.reset(seed=0)
    assert env.observation_space == gym.spaces.Box(0, 255, (24, 24, 3), np.uint8)
    assert env.action_space == gym.spaces.Box(-1, 1, (4,), np.float32)
    assert observation in env.observation_space
    assert np.array_equal(observation, env.render())
    env.close()


def test_same_seed_same_scene_whatever_came_before(env):
    _, first = env.reset(seed=5)
    env.reset(seed=6)
    for _ in range(5):
        env.step(env.action_space.sample())
    _, again = env.reset(seed=5)
    assert np.array_equal(first["state"], again["state"])


def test_other_seeds_other_scenes(env):
    scenes = {tuple(env.reset(seed=seed)[1]["state"][4:7].round(6)) for seed in range(10)}
    assert len(scenes) == 10


def test_without_a_seed_the_sequence_goes_on(env):
    def goals():
        _, first = env.reset(seed=3)
        return np.stack([first["state"], *(env.reset()[1]["state"] for _ in range(2))])

    sequence = goals()
    assert np.array_equal(sequence, goals())
    assert not np.array_equal(sequence[1], sequence[2])


@pytest.mark.parametrize("task", ["drawer-open-v3", "window-close-v3"])
def test_first_state_shows_the_scene_that_is_played(task):
    """Metaworld writes the layout into the model late; nothing may move before something is done."""
    env = MetaworldEnv(task, pixels=False, repeat=1)
    _, info = env.reset(seed=8)
    *_, after = env.step(np.zeros(4))
    assert np.abs(after["state"][4:7] - info["state"][4:7]).max() < 0.005


def test_a_scene_plays_as_in_metaworld_itself():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = MetaworldEnv("push-v3", pixels=False)
    env.reset(seed=2)
    original = ALL_V3_ENVIRONMENTS["push-v3"]()
    original._partially_observable, original._set_task_called = False, True
    original._freeze_rand_vec, original._last_rand_vec = True, env.raw._last_rand_vec.copy()
    del original.sawyer_observation_space
    original.reset()
    for action in np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32):
        _, reward, *_, info = env.step(action)
        steps = [original.step(action) for _ in range(env.repeat)]
        assert np.allclose(info["state"], steps[-1][0], atol=1e-9)
        assert reward == pytest.approx(np.mean([step[1] for step in steps]), abs=1e-9)


def test_a_decision_is_its_raw_steps():
    held, single = (MetaworldEnv("button-press-topdown-v3", pixels=False, repeat=repeat) for repeat in (5, 1))
    held.reset(seed=1)
    single.reset(seed=1)
    action = np.array([0.2, 0.5, -0.8, 0.0], np.float32)
    for _ in range(6):
        _, reward, _, _, info = held.step(action)
        raw = [single.step(action) for _ in range(5)]
        assert np.array_equal(info["state"], raw[-1][4]["state"])
        assert reward == pytest.approx(np.mean([step[1] for step in raw]))
        assert info["success"] == any(step[4]["success"] for step in raw)


def test_info_tells_the_true_values(env):
    _, info = env.reset(seed=0)
    assert info["state"].shape == (39,)
    assert info["estimates"].dtype == np.float32
    expected = [*info["state"][:3], np.clip(info["state"][3], 0, 1), *info["state"][4:7], *info["state"][36:]]
    assert np.allclose(info["estimates"], expected)
    assert np.abs(info["state"][36:]).max() > 0.1, "the goal is hidden"
    assert info["instruction"] == "pull the drawer open"
    *_, info = env.step(np.zeros(4))
    assert {"obj_to_target", "in_place_reward"} <= set(info["reward_terms"])


def test_truncates_at_the_limit_and_can_go_on():
    env = MetaworldEnv("reach-v3", pixels=False, max_decisions=2, repeat=1)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, True), (False, True)]


def test_longer_than_metaworld_allows():
    env = MetaworldEnv("reach-v3", pixels=False, max_decisions=110)
    env.reset(seed=0)
    for _ in range(110):
        *_, truncated, _ = env.step(np.zeros(4))
    assert truncated


def test_success_is_latched():
    env = MetaworldEnv("drawer-close-v3", pixels=False)
    from sfvgen_plan.agents.expert import ExpertAgent

    expert = ExpertAgent()
    expert.reset("drawer-close-v3", 0)
    _, info = env.reset(seed=0)
    assert (info["success"], info["success_latched"]) == (False, False)
    while not info["success"]:
        *_, info = env.step(expert.act(env))
    env.raw.data.qpos[9] = -0.15  # open it again
    *_, info = env.step(np.array([0, -1, 1, 0]))
    assert info["success_latched"]
    _, info = env.reset(seed=0)
    assert not info["success_latched"]


def test_actions_outside_the_box_are_clipped(env):
    results = []
    for scale in (1.0, 50.0):
        env.reset(seed=4)
        results.append(env.step(scale * np.ones(4))[4]["state"])
    assert np.array_equal(*results)


@pytest.mark.parametrize(
    "action", [np.zeros(3), np.zeros((1, 4)), [0, 0, np.nan, 0], [np.inf, 0, 0, 0], 1.0, [0, [1], 0, 0]]
)
def test_bad_actions_are_refused_and_change_nothing(env, action):
    _, info = env.reset(seed=0)
    with pytest.raises(UserError, match="action"):
        env.step(action)
    assert np.array_equal(env.state, info["state"])


@pytest.mark.parametrize(
    "arguments", [{"task": "reech-v3"}, {"size": 0}, {"repeat": 0}, {"max_decisions": 0}, {"camera": "corner9"}]
)
def test_bad_arguments_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f"{name}="):
        MetaworldEnv(**{"task": "reach-v3", **arguments})


def test_without_pixels_the_observation_is_black(env):
    observation, _ = env.reset(seed=0)
    assert observation.shape == (128, 128, 3)
    assert not observation.any()
