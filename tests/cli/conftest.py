"""A model whose frames have the real size."""

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint):
    """Folder of an untrained checkpoint of two tasks, whose frames have the real size."""
    from sfvgen_plan.envs.metaworld.family import TASKS

    return make_checkpoint({task: TASKS[task] for task in ("reach-v3", "drawer-close-v3")}, size=128)
