"""Mirror images of episodes: another true episode, whose numbers fit its pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sfvgen_plan.data.rlbench_state import MIRRORED_ACTION, MIRRORED_ESTIMATES, estimates_of, pack_state
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData, with_mirrored

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


def recorded(frames, held_out):
    """One RLBench episode of random numbers."""
    some = torch.rand(frames, generator=torch.Generator().manual_seed(0))
    flags, whole = torch.ones(frames, dtype=torch.bool), torch.zeros(frames, dtype=torch.int64)
    return TrainingData(
        frames=torch.randint(256, (frames, 8, 8, 3), dtype=torch.uint8),
        action=some[:, None].repeat(1, 7),
        expert=some[:, None].repeat(1, 7) - 1,
        has_expert=flags,
        reward=some,
        success=some,
        terminated=flags,
        labelled=flags,
        estimates=some[:, None].repeat(1, len(MIRRORED_ESTIMATES)),
        task=whole,
        first=whole,
        last=whole + frames - 1,
        held_out=flags & held_out,
        few=flags,
        by_expert=flags,
        text=whole,
    )


@pytest.mark.parametrize("held_out", [False, True])
def test_every_episode_comes_twice_unless_scenes_are_not_symmetric(held_out):
    data = recorded(5, held_out)
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
