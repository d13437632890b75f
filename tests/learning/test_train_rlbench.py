"""A checkpoint of RLBench's tasks says what its numbers mean, and under which terms it may be used."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import sfvgen_plan.envs  # noqa: F401 - registers the environments
from sfvgen_plan.data.minari_writer import write_dataset
from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES, SOURCE, estimates_of, pack_state
from sfvgen_plan.data.staging import StagedEpisode
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.train import Training
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.settings import compose

TASK, DECISIONS = "rlbench/reach_target", 9
STAGES = ("autoencoder", "motion", "denoiser", "heads", "prior", "prior10")


def episode(seed: int) -> StagedEpisode:
    """Ends with success, as recorded ones do."""
    random = np.random.default_rng(seed)
    count = DECISIONS + 1
    pose = np.concatenate([random.uniform(0, 1, (count, 3)), np.tile([0, 0, 0, 1.0], (count, 1))], axis=1)
    state = pack_state(pose, np.ones(count), np.zeros((count, 7)), np.zeros((count, 3)))
    return StagedEpisode.from_frames(
        random.integers(0, 256, (count, 32, 32, 3), np.uint8),
        task=TASK,
        instruction="reach target",
        kind="clean",
        seed=seed,
        state=state,
        estimates=estimates_of(state),
        actions=random.uniform(-1, 1, (DECISIONS, 7)).astype(np.float32),
        expert_actions=random.uniform(-1, 1, (count, 7)).astype(np.float32),
        rewards=np.eye(DECISIONS)[-1],
        success=np.arange(count) == DECISIONS,
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rlbench")
    settings = {"camera": "front", "size": 32, "repeat": 1, "split": "train", "source": SOURCE.as_dict()}
    write_dataset(folder / "data", "recorded", [episode(1001 + n) for n in range(4)], settings)
    small = [
        "train.text_steps=2",
        "train.mirror=true",
        "train.model.unet_widths=[8,8]",
        "train.model.head_dim=4",
        "train.model.norm_groups=4",
        "train.model.motion_width=8",
        *(f"train.{stage}.fit.steps=2" for stage in STAGES),
    ]
    config = compose("train", ["train=tiny", f"data={folder / 'data'}", f"out={folder / 'out'}", *small])
    return Training(config).run()


def test_the_numbers_are_rlbenchs(checkpoint: Path):
    loaded = load_checkpoint(checkpoint)
    assert loaded.card.readouts == list(ESTIMATE_NAMES)
    assert loaded.card.action_dim == 7
    assert loaded.pipeline.heads.config.reward_scale == 1.0


def test_the_card_carries_the_licence_of_the_data(checkpoint: Path):
    page = (checkpoint / "README.md").read_text()
    assert "non-commercial" in page
    assert "Imperial College London" in page
    assert "x_axis_x" in page


def test_its_tasks_are_imagined_like_any_other(checkpoint: Path):
    env = gym.make("sfvgen/Imagined-v0", task=TASK, checkpoint=checkpoint, sampler_steps=1, device="cpu")
    frame, info = env.reset(seed=0)
    assert frame.shape == (32, 32, 3)
    frame, reward, _, _, info = env.step(np.zeros(7, np.float32))
    assert info["estimates"].shape == (10,)
    assert np.isfinite(reward)
    assert env.unwrapped.metadata["render_fps"] == 10


def test_where_the_hand_is_comes_from_the_actions_alone(checkpoint: Path):
    """Frames in which the hand is hidden tell nothing of it."""
    loaded = load_checkpoint(checkpoint)
    simulator = loaded.simulator(1, exact=True)
    actions = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = loaded.starts[TASK][:1, None].expand(2, -1, -1, -1, -1)
    state = simulator.begin_latents(start, [TASK] * 2, [0, 1])
    assert state.track is not None
    with torch.no_grad():
        tracks, changes = loaded.pipeline.motion(state.track, actions)
    after, outcome = simulator.imagine(state, actions)
    torch.testing.assert_close(outcome.estimates, loaded.pipeline.motion.estimates(tracks))
    assert loaded.pipeline.unet.config.action_dim == 7 + changes.shape[-1]

    one, _ = simulator.imagine(state, actions[:, :1])  # one decision at a time
    one, _ = simulator.imagine(one, actions[:, 1:2])
    one, two = simulator.imagine(one, actions[:, 2:])
    torch.testing.assert_close(two.estimates[:, 0], outcome.estimates[:, 2])
    torch.testing.assert_close(one.track, after.track)
    torch.testing.assert_close(simulator.read(one).estimates[:, 0], outcome.estimates[:, 2])


def test_the_robots_motion_can_be_learnt_anew(checkpoint: Path, tmp_path: Path):
    options = [f"data={checkpoint.parent / 'data'}", f"checkpoint={checkpoint}", f"out={tmp_path / 'anew'}"]
    settings = ["train=tiny", "add=motion", "train.mirror=true", "train.motion.fit.steps=2"]
    Training(compose("train", [*settings, *options])).run()
    old, new = (load_checkpoint(folder).pipeline for folder in (checkpoint, tmp_path / "anew"))
    for name in ("unet", "vae", "heads", "prior"):
        kept = getattr(old, name).state_dict()
        assert all(torch.equal(kept[key], value) for key, value in getattr(new, name).state_dict().items())
    learnt = old.motion.state_dict()
    assert not all(torch.equal(learnt[key], value) for key, value in new.motion.state_dict().items())


def test_a_checkpoint_that_follows_no_robot_learns_no_motion(checkpoint: Path, tmp_path: Path, small_checkpoint: Path):
    options = [f"data={checkpoint.parent / 'data'}", f"checkpoint={small_checkpoint}", f"out={tmp_path / 'out'}"]
    with pytest.raises(UserError, match="follows no robot"):
        Training(compose("train", ["train=tiny", "add=motion", *options]))


def test_a_snapshot_holds_where_the_hand_is(checkpoint: Path, tmp_path: Path):
    envs = gym.make_vec(
        "sfvgen/Imagined-v0", num_envs=3, task=TASK, checkpoint=checkpoint, obs_mode="state", device="cpu"
    )
    envs.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 7)).astype(np.float32)
    envs.step(actions)
    envs.unwrapped.get_state().save(tmp_path / "state")
    expected = envs.step(actions)[0]
    envs.reset(seed=5)
    envs.unwrapped.set_state(tmp_path / "state")
    np.testing.assert_array_equal(envs.step(actions)[0], expected)
    envs.close()


def test_the_recipe_is_shorter_than_the_default():
    recipe, default = (compose("train", [f"train={name}"])["train"] for name in ("rlbench", "default"))
    assert recipe["model"] == {**default["model"], "motion_width": recipe["model"]["motion_width"]}
    assert recipe["model"]["motion_width"] > default["model"]["motion_width"] == 0
    assert all(recipe[stage]["fit"]["steps"] < default[stage]["fit"]["steps"] for stage in STAGES if stage != "motion")
    assert recipe["denoiser"]["windows"]["dream_from"] < recipe["denoiser"]["fit"]["steps"]
