"""The real environment: seeds, spaces, repeats, rewards, bad input."""

import numpy as np
import pytest

from sfvgen_plan.envs.metaworld.env import MetaworldEnv


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


def test_info_tells_the_true_values_for_as_long_as_is_asked():
    env = MetaworldEnv("drawer-open-v3", pixels=False)
    _, info = env.reset(seed=0)
    assert info["state"].shape == (39,)
    assert info["estimates"].dtype == np.float32
    expected = [*info["state"][:3], np.clip(info["state"][3], 0, 1), *info["state"][4:7], *info["state"][36:]]
    assert np.allclose(info["estimates"], expected)
    assert np.abs(info["state"][36:]).max() > 0.1, "the goal is hidden"
    assert env.instruction == "pull the drawer open"
    env = MetaworldEnv("reach-v3", pixels=False, max_decisions=110)  # longer than Metaworld allows
    env.reset(seed=0)
    assert [env.step(np.zeros(4))[3] for _ in range(110)] == [False] * 109 + [True]
