"""A robot that does not do all that it is told, and a network that learns how far it gets."""

from __future__ import annotations

import pytest
import torch

from sfvgen_plan.data.rlbench_state import ESTIMATE_NAMES
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import TrainingData
from sfvgen_plan.learning.motion import (
    MotionObjective,
    MotionSettings,
    MotionStage,
    check_robots_alone,
    followed_episodes,
)
from sfvgen_plan.learning.trainer import StageSettings
from sfvgen_plan.model.motion import Motion, followed
from sfvgen_plan.simulation import STATE_NAMES

EPISODES, DECISIONS, WALL, STEP = 60, 12, 0.4, 0.3


def walks() -> TrainingData:
    """Robots on a line, which start at 0 and go no further than ``WALL``; the frames show nothing at all."""
    length, generator = DECISIONS + 1, torch.Generator().manual_seed(0)
    action = torch.rand(EPISODES, length, 1, generator=generator) * 2 - 1
    action[:, 0] = 0
    place = torch.zeros(EPISODES, length)
    for t in range(1, length):
        place[:, t] = (place[:, t - 1] + STEP * action[:, t, 0]).clamp(-WALL, WALL)
    count = EPISODES * length
    first = torch.arange(EPISODES).repeat_interleave(length) * length
    nothing = torch.zeros(count)
    held_out = torch.arange(EPISODES).repeat_interleave(length) >= EPISODES - 10
    estimates = torch.zeros(count, 10)
    estimates[:, 0] = place.flatten()
    return TrainingData(
        frames=torch.zeros(count, 8, 8, 3, dtype=torch.uint8),
        action=action.reshape(count, 1),
        expert=action.reshape(count, 1),
        has_expert=nothing > 0,
        reward=nothing,
        success=nothing,
        labelled=nothing == 0,
        estimates=estimates,
        task=first * 0,
        first=first,
        last=first + length - 1,
        held_out=held_out,
        few=nothing > 0,
        text=first * 0,
        told=nothing > 0,
        latents=torch.zeros(count, 2, 4, 4),
    )


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return walks()


@pytest.fixture(scope="module")
def motion(data: TrainingData) -> Motion:
    """Trained on the episodes that are not held out."""
    torch.manual_seed(0)
    spread = (WALL / 2,) * len(STATE_NAMES)
    network = Motion(2, 4, 3, action_dim=1, hidden=8, width=64, trunk_width=8, estimate_std=spread)
    objective = MotionObjective(network)
    learning = MotionSettings(
        DECISIONS, from_start=1.0, action_noise=0.0
    )  # frames that show nothing tell no other start
    stage = MotionStage(data, objective, torch.zeros(1, 3), learning)
    settings = StageSettings(300, 64, 1e-2)
    optimizer, generator = torch.optim.Adam(objective.parameters(), lr=1e-2), torch.Generator()
    for step in range(settings.steps):
        generator.manual_seed(step)
        optimizer.param_groups[0]["lr"] = 1e-2 * settings.rate(step)
        optimizer.zero_grad()
        objective(**stage.batch(step, settings.batch, generator, objective))["loss"].backward()
        optimizer.step()
    return network.eval()


def errors(data: TrainingData, places: torch.Tensor) -> float:
    """Mean distance at the ends of the episodes that are held out."""
    ends = data.indices(data.held_out & (torch.arange(len(data.last)) == data.last))
    return float((places - data.estimates[:, 0])[ends].abs().mean())


def test_it_knows_the_wall_that_adding_up_the_actions_runs_through(data: TrainingData, motion: Motion):
    told = followed_episodes(motion, data, torch.zeros(1, 3))
    changes = told[:, 1].view(EPISODES, -1)
    summed = STEP * data.action.view(EPISODES, -1)
    added = errors(data, summed.cumsum(1).flatten())
    assert added > 0.1
    assert errors(data, WALL / 2 * changes.cumsum(1).flatten()) < 0.4 * added


def test_one_decision_at_a_time_leads_to_the_same_place(data: TrainingData, motion: Motion):
    actions = data.action.view(EPISODES, -1, 1)[:, 1:]
    with torch.no_grad():
        track = motion.start(torch.zeros(EPISODES, 2, 2, 4, 4), torch.zeros(EPISODES, 3))
        told, tracks = followed(motion, track, actions)
        for t in range(DECISIONS):
            part, steps = followed(motion, track, actions[:, t : t + 1])
            track = steps[:, 0]
            torch.testing.assert_close(part[:, 0], told[:, t], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(track, tracks[:, t], atol=1e-5, rtol=1e-4)


def test_the_denoiser_is_told_the_actions_and_behind_them_what_they_change(data: TrainingData, motion: Motion):
    told = followed_episodes(motion, data, torch.zeros(1, 3))
    assert told.shape == (len(data.action), 1 + motion.readouts)
    torch.testing.assert_close(told[:, :1], data.action)
    assert not told[data.first.unique()].any()  # nothing led to a first frame


def test_samples_end_with_their_episode(data: TrainingData):
    stage = MotionStage(data, MotionObjective(Motion(2, 4, 3, 1)), torch.zeros(1, 3), MotionSettings(from_start=0.0))
    batch = stage.batch(0, 50, torch.Generator().manual_seed(0), stage.objective)
    assert (batch["real"].sum(1) > 1).all()
    assert (batch["real"].sum(1) <= DECISIONS + 1).all()
    after = batch["real"][:, 1:] == 0
    held = batch["units"].diff(dim=1)[after]  # the last frame stays
    assert not held.any()


def test_objects_do_not_follow_from_actions():
    check_robots_alone(0, STATE_NAMES)
    check_robots_alone(8, ESTIMATE_NAMES)
    with pytest.raises(UserError, match=r"train.model.motion_width=8 .* object_x.*give 0"):
        check_robots_alone(8, STATE_NAMES)
