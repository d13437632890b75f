"""The checkpoints that come with the package, and those in the repository's own folder."""

import numpy as np
import pytest

from sfvgen_plan.catalogue import known_checkpoints
from sfvgen_plan.envs.family import family_of
from sfvgen_plan.envs.imagined import ImaginedEnv
from sfvgen_plan.model.checkpoint import load_checkpoint

FOLDERS = sorted(known_checkpoints().values())
LARGEST = 40_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_is_small_carries_its_licence_and_imagines(folder):
    files = [file for file in folder.rglob("*") if file.is_file() and "training" not in file.parts]
    assert sum(file.stat().st_size for file in files) <= LARGEST
    checkpoint = load_checkpoint(folder)
    source = family_of(checkpoint.tasks[0]).source
    assert source.licence in (folder / "README.md").read_text()
    assert checkpoint.card.readouts == list(source.readouts)
    assert checkpoint.card.reward_scale == source.reward_scale
    env = ImaginedEnv(checkpoint.tasks[0], checkpoint)
    env.reset(seed=0)
    frame, *_ = env.step(np.zeros(checkpoint.card.action_dim, np.float32))
    assert frame.std() > 5
