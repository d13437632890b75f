"""The game, and what its page is told."""

import numpy as np
import pytest
import torch

from sfvgen_plan.errors import UserError

pytest.importorskip("gradio")
from sfvgen_plan.envs.controls import CLOSED, OPEN, directions
from sfvgen_plan.envs.play import Player, Session, build, listening, shown

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
    assert 0.0 <= moved.chance <= 1.0 and np.isfinite(moved.rewards).all()
    real, imagined, text = shown(game)
    assert real is moved.real and imagined is moved.imagined
    assert text.startswith("decision 1 · reward real ") and text.endswith("dB PSNR to the real frame")


def test_the_hand_goes_where_the_picture_shows_and_the_gripper_stays_as_it_is(game):
    right, away = directions(game.real)
    assert right @ away == pytest.approx(0.0)
    assert game.move("left").action[:2] @ right < 0
    assert game.move("near").action[:2] @ away < 0
    assert game.move("up").action.tolist() == [0, 0, 1, OPEN]
    assert game.move("grip").action.tolist() == [0, 0, 0, CLOSED]
    assert game.move("down").action[3] == CLOSED


def test_what_was_taken_back_comes_out_the_same_again(game):
    for name in ("right", "up"):
        game.move(name)
    before = game.moment
    game.move("rewind")
    assert len(game.moments) == 2
    again = game.move("up")
    assert np.array_equal(before.real, again.real) and np.array_equal(before.imagined, again.imagined)
    assert before.rewards == pytest.approx(again.rewards)
    for _ in range(5):
        game.move("rewind")
    assert len(game.moments) == 1, "the start stays"
    assert not np.array_equal(game.reset(1).real, game.reset(0).real)


@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_every_button_of_the_page_moves_the_game(checkpoint):
    player = Player(lambda: Session("reach-v3", checkpoint))
    loaded, *pressed, _ = build(player).fns.values()
    controls = player.session.controls
    assert len(pressed) == len(controls.buttons) + 1
    assert {(f.trigger_mode, f.concurrency_id, f.concurrency_limit) for f in pressed} == {("multiple", "game", 1)}
    assert set(controls.keys.values()) == set(controls.buttons)
    assert all(key in listening(controls) for key in (*controls.keys, "Backspace"))
    decisions = [function.fn()[2].split(" ·")[0] for function in (loaded, *pressed)]
    assert decisions == [f"decision {n}" for n in (*range(9), 7)]  # the last one takes back
    player.close()


def test_tasks_that_the_checkpoint_lacks_are_refused(checkpoint):
    with pytest.raises(UserError, match="drawer-open-v3"):
        Session("drawer-open-v3", checkpoint)
