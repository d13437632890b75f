"""The real simulator: `pytest --run-rlbench` where RLBench is, with SFVGEN_RLBENCH_PYTHON and COPPELIASIM_ROOT."""

import numpy as np
import pytest

from sfvgen_plan.benchmarks.running.collection import CollectionSettings
from sfvgen_plan.benchmarks.running.episode import Job
from sfvgen_plan.benchmarks.running.play import play
from sfvgen_plan.envs.rlbench.diagnosis import examine
from sfvgen_plan.envs.rlbench.env import RLBenchEnv
from sfvgen_plan.envs.rlbench.return_env import RLBenchReturnEnv

pytestmark = pytest.mark.rlbench

STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture(scope="module")
def reach():
    env = RLBenchEnv("reach_target")
    yield env
    env.close()


def test_doctor_finds_everything():
    assert [name for name, ok, *_ in examine() if not ok] == []


def test_the_same_seed_gives_the_same_picture(reach):
    first, info = reach.reset(seed=3)
    reach.step(STILL)
    again, again_info = reach.reset(seed=3)
    np.testing.assert_array_equal(first, again)
    assert info["variation"] == again_info["variation"]
    assert first.std() > 5


@pytest.mark.parametrize("task", ["reach_target", "push_button", "take_lid_off_saucepan"])
def test_a_demonstration_followed_without_noise_solves_the_task(task):
    settings = CollectionSettings((f"rlbench/{task}",), 1, 60, camera="front", repeat=1)
    kept = []
    list(play(settings.rules, [Job(settings.tasks[0], 100_000, True)], settings.contestant(), keep=kept.append))
    assert kept[0].kind == "clean" and kept[0].success[-1]


def test_the_return_task_is_made_on_the_table():
    env = RLBenchReturnEnv()
    for seed in (3, 4, 3):  # what was made is removed again
        frame, _ = env.reset(seed=seed)
        np.testing.assert_allclose(env.positions(), env.layout.places, atol=0.01)
    empty, _ = env.reset(seed=5)
    assert np.abs(frame.astype(int) - empty).max() > 60  # the objects are seen
    env.close()
