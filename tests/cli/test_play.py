"""``sfvgen-plan play`` as a user starts and ends it."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.cli.play import free_port

needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install gradio")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refusal(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert cli.main(["play", "--no-browser", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_without_gradio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'sfvgen-plan[play]'" in refusal(capsys, "--task", "reach-v3")


@needs_gradio
def test_bad_input_is_one_line(taken: int, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean reach-v3" in refusal(capsys, "--task", "reach-v4")
    assert f"port={taken} can't be used (address already in use)" in refusal(
        capsys, "--task", "reach-v3", "--port", str(taken)
    )
    assert "port=70000 is no port" in refusal(capsys, "--task", "reach-v3", "--port", "70000")
    assert "'x' is not a whole number" in refusal(capsys, "--task", "reach-v3", "--port", "x")
    assert "0 is too small" in refusal(capsys, "--task", "reach-v3", "--sampler-steps", "0")
    mine = ["--port", "0", "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    assert "task='push-v3' is not in the checkpoint" in refusal(capsys, "--task", "push-v3", *mine)
    assert "device='gpu'" in refusal(capsys, "--task", "reach-v3", "--port", "0", "--device", "gpu")
    assert "checkpoint='nowhere'" in refusal(capsys, "--task", "reach-v3", "--port", "0", "--checkpoint", "nowhere")


def test_any_free_port() -> None:
    port = free_port(0)
    assert 0 < port < 65536
    assert free_port(port) == port


@needs_gradio
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_page_is_served_until_a_signal(tiny_checkpoint: Path, number: signal.Signals, code: int) -> None:
    options = ["--task", "reach-v3", "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--sampler-steps", "1"]
    command = [sys.executable, "-m", "sfvgen_plan.cli", "play", *options, "--port", "0", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        assert text, process.stderr.read()
        told = json.loads(text)
        assert told["task"] == "reach-v3"
        with urllib.request.urlopen(told["url"], timeout=60) as answer:
            assert "reach-v3 · sfvgen-plan" in answer.read().decode()
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        assert "Traceback" not in process.stderr.read()
