"""Gymnasium knows the environments."""

import gymnasium as gym
import pytest

from sfvgen_plan.errors import UserError
from sfvgen_plan.registration import ENVIRONMENTS


def test_registered_once_the_package_is_imported():
    import sfvgen_plan.envs  # noqa: F401

    assert set(ENVIRONMENTS) <= set(gym.registry)


@pytest.mark.parametrize("task", [3, None])
@pytest.mark.parametrize("name", ["Metaworld", "RLBench", "Memory"])
def test_a_task_that_is_no_name_is_refused(name, task):
    with pytest.raises(UserError, match=f"^task='{task}' is unknown; did you mean "):
        gym.make(f"sfvgen_plan.envs:sfvgen/{name}-v0", task=task)
