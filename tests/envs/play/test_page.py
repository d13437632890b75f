"""The page as a browser shows it."""

from importlib.util import find_spec

import pytest
import torch
from chromium import Page, find_chromium

from sfvgen_plan.envs.play.session import Session

torch.set_num_threads(1)
pytestmark = [
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed"),
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome is installed"),
    pytest.mark.filterwarnings("ignore::Warning:gradio"),
]

SAID = "(document.querySelector('#play-said')?.innerText ?? '')"
IMAGES = "[...document.querySelectorAll('#play-real img, #play-imagined img')].map(image => image.src)"


@pytest.fixture(scope="module")
def player(checkpoint):
    from sfvgen_plan.envs.play.page import Player

    player = Player(lambda: Session("reach-v3", checkpoint))
    yield player
    player.close()


@pytest.fixture(scope="module")
def page(player, tmp_path_factory):
    from sfvgen_plan.envs.play.page import build, serve

    served = build(player)
    browser = Page(tmp_path_factory.mktemp("profile"))
    browser.open(serve(served, "127.0.0.1", None, browser=False))
    browser.wait(f"{SAID}.startsWith('decision 0 ')")
    browser.wait("document.body.dataset.keys === 'heard'")
    browser.settle()
    yield browser
    browser.close()
    served.close(verbose=False)


def at(page, decision):
    page.wait(f"{SAID}.startsWith('decision {decision} ')")


def test_keys_pressed_quickly_all_count_in_their_order(page, player):
    before = page.run(IMAGES)
    codes = ["KeyD", "ArrowLeft", "KeyE", "Space", "KeyQ", "KeyX", "KeyD", "KeyD", "Space", "KeyW"]
    for code in codes:
        page.key(code)
    at(page, len(codes))
    played = [moment.action for moment in player.session.moments[1:]]
    player.do(lambda session: session.reset(0))
    names = ("right", "left", "up", "grip", "down", "stay", "right", "right", "grip", "away")
    assert [a.tolist() for a in played] == [player.do(lambda s, n=n: s.move(n)).action.tolist() for n in names]
    after = page.run(IMAGES)
    assert len(before) == len(after) == 2
    assert before[0] != after[0] and before[1] != after[1]


def test_buttons_take_back_and_start_again(page, player):
    page.click("#play-restart")
    at(page, 0)
    page.click("#play-up")
    at(page, 1)
    assert "dB PSNR to the real frame" in page.run(SAID)
    page.click("#play-rewind")
    at(page, 0)
    assert len(player.session.moments) == 1
