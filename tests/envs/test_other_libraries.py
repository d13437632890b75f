"""Libraries that take environments of Gymnasium take these, with all that ``info`` holds."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from sfvgen_plan.envs.family import family_of

IMAGINED = "reach-v3"
OF_TENSORS = ("push-v3", "gym:dot_env:DotBox-v0", IMAGINED)
OF_TEXTS = ("memory/return", "memory/revisit", "memory/cue")  # their sub-goals are


@pytest.fixture
def settings(request, small_checkpoint, monkeypatch):
    """Of a small environment of a task."""
    monkeypatch.syspath_prepend(str(request.config.rootpath / "tests"))

    def of(task):
        if task == IMAGINED:
            return {"id": "sfvgen/Imagined-v0", "task": task, "checkpoint": small_checkpoint}
        return {"id": family_of(task).env_id, "task": task, "size": 16, "pixels": False}

    return of


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
@pytest.mark.parametrize("task", [*OF_TENSORS, *OF_TEXTS])
def test_minari_collects_episodes_with_their_infos(task, settings, tmp_path, monkeypatch):
    pytest.importorskip("jax", reason="needs pip install 'minari[create]'")
    from minari import DataCollector

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = DataCollector(gym.make(**settings(task)), record_infos=True)
    for seed in (0, 1):  # another scene
        env.reset(seed=seed)
        env.step(env.action_space.sample())
    data = env.create_dataset("taken/by-v0", algorithm_name="chance", eval_env=None)
    assert [len(episode.infos["is_success"]) for episode in data.iterate_episodes()] == [2, 2]
    env.close()


@pytest.mark.parametrize("task", OF_TENSORS)
def test_vector_environments_become_tensors(task, settings):
    pytest.importorskip("array_api_compat", reason="needs pip install 'gymnasium[torch]'")
    envs = gym.wrappers.vector.NumpyToTorch(gym.make_vec(num_envs=2, **settings(task)))
    _, info = envs.reset(seed=0)
    frames, reward, *_ = envs.step(torch.as_tensor(np.asarray(envs.action_space.sample())))
    assert (len(frames), reward.shape) == (2, (2,))
    assert isinstance(info["estimates"], torch.Tensor)
    envs.close()


@pytest.mark.parametrize("task", OF_TENSORS)
def test_torchrl_takes_vector_environments(task, settings):
    pytest.importorskip("torchrl", reason="needs pip install torchrl")
    from torchrl.envs import GymWrapper

    own = settings(task)
    how = {"autoreset_mode": "SameStep"}
    envs = gym.make_vec(num_envs=2, **own, **how if task == IMAGINED else {"vector_kwargs": how})
    assert GymWrapper(envs).rollout(2)["next", "reward"].shape == (2, 2, 1)
    envs.close()
