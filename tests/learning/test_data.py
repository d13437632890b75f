"""Flat training tensors: which label belongs to which frame, and who is held out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import training_data
from scipy.spatial.transform import Rotation

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.data.rlbench_state import MIRRORED_ACTION, MIRRORED_ESTIMATES, estimates_of, pack_state
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import held_out_episodes, to_training_data, with_mirrored, worth_imitating
from sfvgen_plan.learning.dreams import shares

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory, write_small_dataset):
    return load_episodes(write_small_dataset(tmp_path_factory.mktemp("data") / "set", 5, 7))


@pytest.fixture(scope="module")
def data(episodes):
    return to_training_data(episodes, CPU, held_out_every=5, few_episodes=1)


def test_labels_belong_to_the_frame_that_the_action_led_to_advice_to_the_one_before_and_bounds_to_all(episodes, data):
    for e, length in enumerate(episodes.lengths.tolist()):
        start, action_start = int(episodes.episode_start[e]), int(episodes.action_start[e])
        decisions, led_to = slice(action_start, action_start + length), slice(start + 1, start + length + 1)
        assert not data.labelled[start] and data.labelled[led_to].all()
        assert not data.action[start].any()
        for name, wanted in (("action", "actions"), ("reward", "reward"), ("success", "success")):
            np.testing.assert_allclose(getattr(data, name)[led_to], getattr(episodes, wanted)[decisions])
        assert data.has_expert[start : start + length].all() and not data.has_expert[start + length]
        np.testing.assert_allclose(data.expert[start : start + length], episodes.expert_actions[decisions])
        whole = slice(start, start + length + 1)
        assert set(data.first[whole].tolist()) == {start}
        assert set(data.last[whole].tolist()) == {start + length}
        assert set(data.task[whole].tolist()) == {int(episodes.task[e])}
    np.testing.assert_allclose(data.estimates.numpy(), episodes.estimates)


def test_every_nth_episode_of_each_task_is_held_out(episodes, data):
    # Interleaved tasks are counted apart.
    assert held_out_episodes(np.array([0, 1, 0, 0, 1, 0]), every=2).tolist() == [0, 0, 1, 1, 1, 0]
    assert held_out_episodes(np.zeros(45, int)).nonzero().flatten().tolist() == [19, 32]
    held_out = [bool(data.held_out[start]) for start in episodes.episode_start]
    assert held_out == [n % 5 == 4 for n in range(10)]
    # Every kind of episode in its turn.
    numbers = held_out_episodes(np.zeros(400, int)).nonzero().flatten()
    assert sorted((numbers % 20).tolist()) == list(range(20))
    # Few demonstrations are clean and not held out.
    few = [e for e in range(len(episodes)) if data.few[episodes.episode_start[e]]]
    assert len(few) == 2
    assert sorted(int(episodes.task[e]) for e in few) == [0, 1]
    assert all(episodes.kind[e] == "clean" for e in few)
    assert not (data.few & data.held_out).any()


def test_of_own_episodes_what_succeeded_is_imitated_up_to_there(episodes):
    nobody = np.full_like(episodes.expert_actions, np.nan)
    own = replace(episodes, success=np.zeros_like(episodes.success), expert_actions=nobody)
    parts = [slice(s, s + n) for s, n in zip(own.action_start, own.lengths, strict=True)]
    own.expert_actions[parts[0]] = 0.25
    first = int(np.flatnonzero(own.task == own.task[0])[1])
    own.success[parts[first].start + 2] = True
    advice = worth_imitating(own)
    assert (advice[parts[0]] == 0.25).all()
    assert np.array_equal(advice[parts[first]][:3], own.actions[parts[first]][:3])
    assert np.isnan(advice[parts[first]][3:]).all()
    # Of the other task nobody knows anything, so the episode of the highest return stands in.
    other = [e for e in range(len(own)) if own.task[e] != own.task[0]]
    best = max(other, key=lambda e: own.reward[parts[e]].sum())
    imitated = [e for e in other if not np.isnan(advice[parts[e]]).any()]
    assert best in imitated and len(imitated) < len(other)
    data = to_training_data(own, torch.device("cpu"))
    assert data.expert.isfinite().all()
    assert int(data.has_expert.sum()) == int(np.isfinite(advice).all(-1).sum())


def test_windows_of_rare_states_have_more_shares(data):
    data.latents = torch.zeros(len(data.task), 1)
    data.estimates = torch.zeros(len(data.task), 2)
    rare = (data.first == 0) & (data.task == data.task[0])
    data.estimates[rare] = 1.0
    common = shares(data, 4, 0.0)
    assert set(common.tolist()) == {4}
    found = shares(data, 4, 1.0)
    assert found[rare].min() > found[(data.task == data.task[0]) & ~rare].max()


MIRROR = np.diag([1.0, -1.0, 1.0])


def seen(position, turn, thing):
    pose = np.concatenate([position, Rotation.from_matrix(turn).as_quat()])
    return estimates_of(pack_state(pose, 0.0, np.zeros(7), thing))


def test_an_action_in_the_mirror_leads_to_the_mirrored_pose():
    random = np.random.default_rng(0)
    position, turn, action = random.normal(size=3), Rotation.random(random_state=0).as_matrix(), random.normal(size=7)

    def acted(position, turn, action, thing):
        return seen(position + action[:3], Rotation.from_rotvec(action[3:6]).as_matrix() @ turn, thing)

    straight = acted(position, turn, action, position)
    mirrored = acted(MIRROR @ position, MIRROR @ turn @ MIRROR, action * MIRRORED_ACTION, MIRROR @ position)
    np.testing.assert_allclose(mirrored, straight * MIRRORED_ESTIMATES, atol=1e-6)


@pytest.mark.parametrize("held_out", [False, True])
def test_every_episode_comes_twice_unless_scenes_are_not_symmetric(held_out):
    some = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    pictures, flags = torch.randint(256, (5, 8, 8, 3), dtype=torch.uint8), torch.full((5,), held_out)
    estimates = some[:, :1].repeat(1, len(MIRRORED_ESTIMATES))
    own = {"frames": pictures, "expert": some - 1, "reward": some[:, 0], "estimates": estimates, "held_out": flags}
    data = training_data(1, some, **own)
    both = with_mirrored(data)
    assert torch.equal(both.frames[:5], data.frames)
    assert torch.equal(both.frames[5:].flip(2), data.frames)
    assert torch.equal(both.action[5:, 0], data.action[:, 0])
    assert torch.equal(both.action[5:, 1], -data.action[:, 1])
    assert torch.equal(both.expert[5:, 3], -data.expert[:, 3])
    assert torch.equal(both.reward[5:], data.reward)
    assert both.first.tolist() == [0] * 5 + [5] * 5
    assert both.last[5:].tolist() == [9] * 5
    assert bool(both.held_out[5:].all()) is held_out
    assert both.latents is None
    with pytest.raises(UserError, match=r"train\.mirror=true is for actions of 7 .* have 4"):
        with_mirrored(replace(data, action=data.action[:, :4]))
