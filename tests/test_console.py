"""What programs say, and where."""

import json
import os
import re
import subprocess
import sys
import time

from sfvgen_plan import console
from sfvgen_plan.console import Output, table


def test_result_is_text_a_table_or_one_json_document(capsys):
    data = {"success": 0.5, "interval": [float("nan"), 1.0]}
    Output().result(data, "success 0.5")
    assert capsys.readouterr().out == "success 0.5\n"
    Output(quiet=True, json=True).result(data, "success 0.5")
    assert json.loads(capsys.readouterr().out) == {"success": 0.5, "interval": [None, 1.0]}
    Output().result(data, table("A title", ["task", "success"], [("reach", 0.5), ("x" * 100, 1)]))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= console.WIDTH


def test_a_terminal_of_eighty_columns_gets_a_bar_that_fits():
    code = """
import time
from sfvgen_plan.console import Output
with Output().progress("video", total=2) as bar:
    for _ in range(2):
        bar.describe("loss 0.123 " * 20)
        bar.advance()
        time.sleep(0.2)
Output().result({}, "the result")
"""
    shown, terminal = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as run:
        os.close(terminal)
        seen = b""
        while part := read_or_end(shown):
            seen += part
        assert run.stdout is not None
        assert run.stdout.read() == b"the result\n"  # what is piped on is only that
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()))
    assert any(line.startswith("video ") and " 2/2 " in line for line in lines)
    assert max(map(len, lines)) <= 80


def read_or_end(shown):
    try:
        return os.read(shown, 65536)
    except OSError:  # that is how Linux says that nobody writes any more
        return b""


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.05)
    for out in (Output(), Output(quiet=True)):
        out.note("hello")
        with out.progress("episodes", total=2) as bar:
            bar.advance()
            bar.describe("more")
            time.sleep(0.2)
        time.sleep(0.1)
        captured = capsys.readouterr()
        assert captured.out == ""
        hello, *lines = captured.err.splitlines() or [""]
        assert (hello, bool(lines)) == (("", False) if out.quiet else ("hello", True)) and len(lines) <= 4
        assert all(line.startswith("episodes: 1/2 after 0 s (more)") for line in lines)
