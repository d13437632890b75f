"""Small made-up episodes: no simulator needed."""

import numpy as np
import pytest

from sfvgen_plan.data.minari_writer import write_dataset
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.envs.sawyer import SOURCE

SETTINGS = {"camera": "corner4", "size": 20, "repeat": 5, "source": SOURCE.as_dict()}


def _make_episode(seed, decisions=6, task="reach-v3", kind="clean", size=20):
    """(frames, staged episode) with random content."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (decisions + 1, size, size, 3), dtype=np.uint8)
    success = random.random(decisions + 1) < 0.5
    success[0] = False
    episode = StagedEpisode.from_frames(
        frames,
        task=task,
        instruction=f"do {task}",
        kind=kind,
        seed=seed,
        state=random.normal(size=(decisions + 1, 39)),
        estimates=random.random((decisions + 1, 10), dtype=np.float32),
        actions=random.random((decisions, 4), dtype=np.float32),
        expert_actions=random.random((decisions + 1, 4), dtype=np.float32),
        rewards=10 * random.random(decisions),
        success=success,
    )
    return frames, episode


@pytest.fixture
def settings():
    """What the made-up episodes were collected with."""
    return SETTINGS


@pytest.fixture
def make_episode():
    """Function from a seed to (frames, staged episode)."""
    return _make_episode


@pytest.fixture
def dataset(tmp_path):
    """Folder of a dataset, and its (frames, episode) in order: two tasks, three kinds, several lengths."""
    episodes = [
        _make_episode(100_000, 6, "reach-v3", "clean"),
        _make_episode(100_001, 3, "reach-v3", "random"),
        _make_episode(100_002, 6, "reach-v3", "clean"),
        _make_episode(100_000, 4, "push-v3", "clean"),
        _make_episode(100_001, 6, "push-v3", "noise0.3"),
    ]
    write_dataset(tmp_path / "set", "my set", [episode for _, episode in episodes], SETTINGS)
    return tmp_path / "set", episodes
