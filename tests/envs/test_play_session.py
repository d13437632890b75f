"""The game, and what its page is told."""

import numpy as np
import pytest

from sfvgen_plan.errors import UserError

pytest.importorskip("gradio")
from sfvgen_plan.envs.controls import OPEN, directions
from sfvgen_plan.envs.play import Player, Session, build, listening, shown


@pytest.fixture
def game(checkpoint):
    session = Session("reach-v3", checkpoint)
    yield session
    session.close()


def test_both_worlds_begin_with_the_same_frame_and_move(game):
    start = game.frames
    assert [frame.shape for frame in start] == [(32, 32, 3)] * 2
    game.move("right")
    assert np.abs(game.action).max() == 1.0 and game.action[3] == OPEN
    assert not any(np.array_equal(*pair) for pair in zip(start, game.frames, strict=True))
    assert 0.0 <= game.chance <= 1.0 and np.isfinite(game.rewards).all()
    real, imagined, text = shown(game)
    assert real is game.frames[0] and imagined is game.frames[1]
    assert text.startswith("decision 1 · reward real ") and text.endswith("dB PSNR to the real frame")
    game.reset(0)
    assert np.array_equal(game.frames[0], start[0]) and game.decisions == 0
    game.reset(1)
    assert not np.array_equal(game.frames[0], start[0])


def test_the_hand_goes_where_the_picture_shows_and_the_gripper_stays_as_it_is(game):
    right, away = directions(game.real)
    assert right @ away == pytest.approx(0.0)
    moved = {}
    for name in ("left", "near", "up", "grip", "down"):
        game.move(name)
        moved[name] = game.action
    assert moved["left"][:2] @ right < 0
    assert moved["near"][:2] @ away < 0
    assert moved["up"].tolist() == [0, 0, 1, OPEN]
    assert moved["grip"].tolist() == [0, 0, 0, -OPEN]
    assert moved["down"][3] == -OPEN


@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_every_button_of_the_page_moves_the_game(checkpoint):
    player = Player(lambda: Session("reach-v3", checkpoint))
    loaded, *pressed, _ = build(player).fns.values()
    controls = player.session.controls
    assert len(pressed) == len(controls.buttons)
    assert {(f.trigger_mode, f.concurrency_id, f.concurrency_limit) for f in pressed} == {("multiple", "game", 1)}
    assert set(controls.keys.values()) == set(controls.buttons)
    assert all(key in listening(controls) for key in controls.keys)
    decisions = [function.fn()[2].split(" ·")[0] for function in (loaded, *pressed)]
    assert decisions == [f"decision {n}" for n in range(9)]
    player.close()
    with pytest.raises(UserError, match="drawer-open-v3"):
        Session("drawer-open-v3", checkpoint)
