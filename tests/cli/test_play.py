"""``sfvgen-plan play`` as a user starts and ends it."""

import json
import socket
import threading
import urllib.request
from importlib.util import find_spec

import pytest

from sfvgen_plan import cli

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")
PLAY = ("play", "--no-browser")


def test_without_gradio(monkeypatch, refused):
    monkeypatch.setattr("sfvgen_plan.errors.find_spec", lambda name: None)
    assert "gradio is not installed; pip install '" in (line := refused(*PLAY, "--task", "reach-v3"))
    assert line.endswith("[play]'")


@needs_gradio
def test_a_port_that_is_taken_is_told(tiny_checkpoint, refused):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        mine = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--port", port, "--quiet")
        assert f"port={port} can't be used" in refused(*PLAY, "--task", "reach-v3", *mine)


@needs_gradio
@pytest.mark.filterwarnings("ignore::Warning:gradio")
def test_the_page_is_served_until_ctrl_c(tiny_checkpoint, monkeypatch, capsys):
    class Waiting(threading.Event):
        """What the verb waits for: it looks at the page, and then the user presses Ctrl-C."""

        def wait(self, timeout=None):
            if timeout is not None or threading.current_thread() is not threading.main_thread():
                return super().wait(timeout)
            told = json.loads(capsys.readouterr().out)
            assert told["task"] == "reach-v3"
            with urllib.request.urlopen(told["url"], timeout=60) as answer:
                assert "reach-v3 · sfvgen-plan" in answer.read().decode()
            raise KeyboardInterrupt

    options = ["--task", "reach-v3", "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "sampler_steps=1"]
    monkeypatch.setattr("sfvgen_plan.cli.play.Event", Waiting)
    assert cli.main(["play", *options, "--no-browser", "--json"]) == 0
