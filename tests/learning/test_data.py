"""Flat training tensors: which label belongs to which frame, and who is held out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sfvgen_plan.data.episodes import load_episodes
from sfvgen_plan.learning.data import held_out_episodes, pick, to_training_data, worth_imitating
from sfvgen_plan.learning.rarity import shares

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory, write_small_dataset):
    return load_episodes(write_small_dataset(tmp_path_factory.mktemp("data") / "set", 5, 7))


@pytest.fixture(scope="module")
def data(episodes):
    return to_training_data(episodes, CPU, held_out_every=5, few_episodes=1)


def test_labels_belong_to_the_frame_that_the_action_led_to(episodes, data):
    for e in range(len(episodes)):
        start, action_start = int(episodes.episode_start[e]), int(episodes.action_start[e])
        assert not data.labelled[start]
        assert not data.action[start].any()
        for t in range(int(episodes.lengths[e])):
            frame, decision = start + t + 1, action_start + t
            assert data.labelled[frame]
            assert data.action[frame].tolist() == pytest.approx(episodes.actions[decision].tolist())
            assert float(data.reward[frame]) == pytest.approx(float(episodes.reward[decision]))
            assert bool(data.success[frame]) == bool(episodes.success[decision])


def test_the_experts_action_belongs_to_the_frame_before_it(episodes, data):
    for e in range(len(episodes)):
        start, action_start = int(episodes.episode_start[e]), int(episodes.action_start[e])
        length = int(episodes.lengths[e])
        for t in range(length):
            assert data.has_expert[start + t]
            expected = episodes.expert_actions[action_start + t].tolist()
            assert data.expert[start + t].tolist() == pytest.approx(expected)
        assert not data.has_expert[start + length]


def test_bounds_tasks_and_estimates(episodes, data):
    for e in range(len(episodes)):
        start, length = int(episodes.episode_start[e]), int(episodes.lengths[e])
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


def test_every_kind_of_episode_is_held_out_in_its_turn():
    held_out = held_out_episodes(np.zeros(400, int)).nonzero().flatten()
    assert sorted((held_out % 20).tolist()) == list(range(20))


def test_few_demonstrations_are_clean_and_not_held_out(episodes, data):
    few = [e for e in range(len(episodes)) if data.few[episodes.episode_start[e]]]
    assert len(few) == 2
    assert sorted(int(episodes.task[e]) for e in few) == [0, 1]
    assert all(episodes.kind[e] == "clean" for e in few)
    assert not (data.few & data.held_out).any()


def test_pick_draws_all_candidates_with_the_generators_numbers():
    candidates = torch.tensor([3, 5, 9])
    draws = [pick(candidates, 200, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert set(draws[0].tolist()) == {3, 5, 9}
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])


def test_of_own_episodes_what_succeeded_is_imitated_up_to_there(episodes):
    own = replace(
        episodes,
        success=np.zeros_like(episodes.success),
        expert_actions=np.full_like(episodes.expert_actions, np.nan),
    )
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
