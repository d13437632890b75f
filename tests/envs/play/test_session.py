"""The game without a page."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfvgen_plan.envs.play.session import CLOSED, OPEN, Session, directions
from sfvgen_plan.errors import UserError

torch.set_num_threads(1)


@pytest.fixture
def game(checkpoint):
    session = Session("reach-v3", checkpoint)
    yield session
    session.close()


def test_both_worlds_begin_with_the_same_frame_and_move(game):
    start = game.moment
    assert start.real.shape == start.imagined.shape == (32, 32, 3)
    moved = game.move("right")
    assert np.abs(moved.action).max() == 1.0 and moved.action[3] == OPEN
    assert not np.array_equal(moved.real, start.real) and not np.array_equal(moved.imagined, start.imagined)
    assert 0.0 <= moved.chance <= 1.0 and np.isfinite(moved.rewards).all() and moved.psnr > 0


def test_the_hand_goes_where_the_picture_shows(game):
    right, away = directions(game.real)
    assert right @ away == pytest.approx(0.0)
    assert game.move("left").action[:2] @ right < 0
    assert game.move("near").action[:2] @ away < 0
    assert game.move("up").action.tolist() == [0, 0, 1, OPEN]


def test_the_gripper_stays_as_it_is(game):
    assert game.move("grip").action.tolist() == [0, 0, 0, CLOSED]
    assert game.move("down").action[3] == CLOSED
    assert game.move("grip").action[3] == OPEN


def test_what_was_taken_back_comes_out_the_same_again(game):
    for name in ("right", "up"):
        game.move(name)
    before = game.moment
    game.rewind()
    assert len(game.moments) == 2
    again = game.move("up")
    assert np.array_equal(before.real, again.real) and np.array_equal(before.imagined, again.imagined)
    assert before.rewards == pytest.approx(again.rewards)
    for _ in range(5):
        game.rewind()
    assert len(game.moments) == 1, "the start stays"


def test_a_seed_is_a_scene(game):
    first = game.moment.real
    assert not np.array_equal(game.reset(1).real, first)
    assert np.array_equal(game.reset(0).real, first)


def test_tasks_that_the_checkpoint_lacks_are_refused(checkpoint):
    with pytest.raises(UserError, match="drawer-open-v3"):
        Session("drawer-open-v3", checkpoint)
