"""The page as a browser shows it, at the width of a desk and of a phone."""

import re
import socket
import threading
from importlib.util import find_spec

import pytest
import torch
from chromium import Page, find_chromium

from sfvgen_plan.envs.play.controls import Controls
from sfvgen_plan.envs.play.session import Session
from sfvgen_plan.errors import UserError
from sfvgen_plan.model.checkpoint import load_checkpoint

torch.set_num_threads(1)
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install gradio")
needs_browser = pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome is installed")
pytestmark = [needs_gradio, pytest.mark.filterwarnings("ignore::Warning:gradio")]

DECISION = "document.getElementById('play-decision').innerText"
IMAGES = "[...document.querySelectorAll('.play-stage img')].map(image => image.src)"


@pytest.fixture(scope="module")
def player(small_checkpoint):
    from sfvgen_plan.envs.play.page import Player

    checkpoint = load_checkpoint(small_checkpoint)
    player = Player(lambda: Session("reach-v3", checkpoint, memory_every=2, sampler_steps=1))
    yield player
    player.close()


@pytest.fixture(scope="module")
def address(player):
    from sfvgen_plan.envs.play.page import build, serve

    page = build(player)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield serve(page, "127.0.0.1", port, browser=False)
    page.close(verbose=False)


@pytest.fixture(scope="module")
def desk(address, tmp_path_factory):
    """A window of a desktop's width."""
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture
def page(desk, address, player):
    """The page at the start of a game."""

    def start(session):
        session.set_memory(False)
        session.reset(0)

    player.do(start)
    desk.open(address)
    desk.wait("document.querySelector('#play-decision')")
    desk.wait("document.querySelector('#play-branch label')")
    return desk


def at(page, decision):
    page.wait(f"{DECISION} === '{decision}'")


@needs_browser
def test_keys_move_both_worlds(page, player):
    before = page.run(IMAGES)
    for n, (code, direction) in enumerate(
        [("KeyD", "right"), ("ArrowLeft", "left"), ("KeyE", "up"), ("KeyW", "away"), ("Space", "stay")], 1
    ):
        page.key(code)
        at(page, n)
        action = player.session.moment.action
        wanted = Controls.of(player.session.real).action(direction, gripper=1.0 if code == "Space" else -1.0)
        assert action == pytest.approx(wanted)
    page.key("KeyX")
    at(page, 6)
    assert player.session.moment.action[3] == 1.0  # the gripper stays as it is
    after = page.run(IMAGES)
    assert len(before) == len(after) == 2
    assert before[0] != after[0] and before[1] != after[1]


@needs_browser
def test_rewind_fork_and_branches(page, player):
    for n in (1, 2):
        page.click("#play-right")
        at(page, n)
    shown = page.run(IMAGES)
    page.click("#play-fork")
    page.wait("document.querySelectorAll('#play-branch label').length === 2")
    page.key("Backspace")
    at(page, 1)
    page.click("#play-up")
    at(page, 2)
    other = page.run(IMAGES)
    assert shown[0] != other[0]
    page.click("#play-branch label")
    page.wait(f"{IMAGES}[0] === {shown[0]!r}")
    assert page.run(IMAGES) == shown
    assert page.run("document.querySelector('.play-where').innerText").startswith("branch A · decision 2")
    assert player.session.branches == ["A", "B"]


@needs_browser
def test_the_start_can_not_be_rewound(page):
    assert page.run("document.querySelector('#play-rewind').disabled")
    page.key("KeyA")
    at(page, 1)
    page.wait("!document.querySelector('#play-rewind').disabled")
    page.click("#play-rewind")
    at(page, 0)
    page.wait("document.querySelector('#play-rewind').disabled")


@needs_browser
def test_memory_is_switched(page, player):
    page.click("#play-memory input")
    page.wait("document.querySelector('.play-stage').innerText.includes('memory on')")
    for n in (1, 2):
        page.key("KeyW")
        at(page, n)
    page.wait("document.querySelector('.play-stage').innerText.includes('1 learning step')")
    page.key("KeyM")
    page.wait("document.querySelector('.play-stage').innerText.includes('memory off')")
    assert not player.session.memory
    page.key("Backspace")  # the switch shows what the moment has
    at(page, 1)
    page.wait("document.querySelector('#play-memory input').checked")


def unfold(page, section, last):
    """Open a folded section, and wait until its last part is there and takes part."""
    page.click(f"{section} button")
    page.wait(f"document.querySelector('{last}')?.offsetParent")
    page.settle()  # Gradio shows a part some frames before it listens to it


def drag(page, selector, value):
    """Move a slider as a hand does: input while moving, then let go."""
    page.run(
        f"(slider => {{ slider.value = {value}; slider.dispatchEvent(new Event('input', {{bubbles: true}}));"
        "slider.dispatchEvent(new PointerEvent('pointerup', {bubbles: true})); })"
        f"(document.querySelector('{selector} input[type=range]'))"
    )
    page.wait(f"document.querySelector('{selector} input[type=number]').value === '{value}'")


@needs_browser
def test_sliders(page, player):
    drag(page, "#play-times", 3)
    page.click("#play-left")
    at(page, 3)
    drag(page, "#play-timeline", 1)
    at(page, 1)
    page.wait("document.querySelector('#play-timeline input[type=number]').value === '1'")
    assert len(player.session.branch.moments) == 4
    unfold(page, "#play-exact", "#play-send")
    drag(page, "#play-axis-x", 0.25)
    drag(page, "#play-axis-gripper", 0.5)
    drag(page, "#play-times", 1)
    page.click("#play-send")
    at(page, 2)
    assert player.session.moment.action.tolist() == [0.25, 0.0, 0.0, 0.5]


@needs_browser
def test_other_scenes_and_refusals(page, player):
    unfold(page, "#play-scene", "#play-restart")

    def give(seed):
        page.run(
            f"(box => {{ box.value = '{seed}'; box.dispatchEvent(new Event('input', {{bubbles: true}}));"
            "box.dispatchEvent(new Event('change', {bubbles: true})); })(document.querySelector('#play-seed input'))"
        )
        page.click("#play-restart")

    give(7)
    page.wait("document.querySelector('.play-where').innerText.endsWith('scene 7')")
    give(-2)
    page.wait("document.body.innerText.includes('seed=-2 is no whole number')")
    assert player.session.seed == 7


@needs_browser
def test_typing_moves_nothing(page, player):
    unfold(page, "#play-scene", "#play-seed input")
    page.run("document.querySelector('#play-seed input').focus()")
    page.key("KeyW")
    page.key("Backspace")
    page.run("document.activeElement.blur()")
    page.key("KeyD")
    at(page, 1)
    assert player.session.moment.action[3] == -1.0


@needs_browser
def test_a_reload_keeps_the_game(page, address):
    page.key("KeyW")
    at(page, 1)
    page.open("about:blank")
    page.open(address)
    page.wait("document.querySelector('#play-decision')")
    at(page, 1)


@needs_browser
@pytest.mark.parametrize(("width", "touch"), [(1200, False), (390, True)])
def test_it_fits_the_screen(address, page, width, touch):
    """Nothing is wider than the window, the frames stand side by side, and nothing comes from elsewhere."""
    page.open("about:blank")
    page.wait("location.href === 'about:blank'")
    page.resize(width, 844, touch)
    page.logged.clear()
    try:
        page.open(address)
        page.wait("document.querySelector('#play-decision')")
        page.wait("document.querySelector('#play-branch label')")
        assert page.run("document.documentElement.scrollWidth") <= width
        boxes = page.run(
            "[...document.querySelectorAll('.play-stage img, #play-pad button, #play-fork, #play-memory label')]"
            ".map(e => e.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.width, b.height])"
        )
        assert len(boxes) == 13
        assert all(left >= 0 and right <= width for left, right, *_ in boxes)
        real, imagined = boxes[:2]
        assert real[2] == imagined[2] and imagined[0] > real[1] and real[3] == pytest.approx(real[4], abs=1)
        heights = page.run("[...document.querySelectorAll('#play-pad button')].map(e => e.offsetHeight)")
        assert len(heights) == 9 and min(heights) >= 44  # room for a thumb
        loaded = page.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in loaded if not re.match(rf"{re.escape(address)}|data:|blob:", name)] == []
        assert page.logged == []
    finally:
        page.resize(1200, 1000)


def test_a_port_that_was_taken_meanwhile_is_named(player):
    from sfvgen_plan.envs.play.page import build, serve

    page = build(player)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"port={port} can't be used"):
            serve(page, "127.0.0.1", port, browser=False)


def test_the_game_stays_in_one_thread(small_checkpoint):
    from sfvgen_plan.envs.play.page import Player

    made = []

    def make():
        made.append(threading.current_thread())
        return Session("reach-v3", small_checkpoint, sampler_steps=1, device="cpu")

    player = Player(make)
    assert player.do(lambda session: threading.current_thread()) is made[0] is not threading.current_thread()
    player.close()
    with pytest.raises(UserError, match="reach-v4"):
        Player(lambda: Session("reach-v4", small_checkpoint))
