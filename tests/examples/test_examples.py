"""The examples run as they stand, with small budgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *options: str) -> str:
    """What the example prints."""
    command = [sys.executable, str(EXAMPLES / name), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_plain_loop(small_checkpoint: Path) -> None:
    said = run(
        "plain_loop.py", "--checkpoint", str(small_checkpoint), "--envs", "2", "--horizon", "3", "--updates", "2"
    )
    assert [line.split()[:2] for line in said.splitlines()] == [["update", "0"], ["update", "1"]]


@pytest.mark.skipif(find_spec("torchrl") is None, reason="torchrl is not installed: pip install torchrl")
def test_torchrl(small_checkpoint: Path) -> None:
    said = run("torchrl_env.py", "--checkpoint", str(small_checkpoint), "--decisions", "3")
    assert "3 decisions, return" in said


def test_a_callable(small_checkpoint: Path) -> None:
    said = run("callable_agent.py", "--checkpoint", str(small_checkpoint), "--decisions", "2")
    imagined, real = said.splitlines()
    assert imagined.startswith("sfvgen/Imagined-v0: solved")
    assert real.startswith("sfvgen/Metaworld-v0: solved")


def test_a_module_and_factory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sfvgen_plan.cli", "eval", "--task", "reach-v3", "--agent", "factory_agent:make"]
    command += ["agent.push=0.5", "--episodes", "1", "--max-decisions", "4", "--json", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=EXAMPLES, env=os.environ)
    (episode,) = json.loads(done.stdout)["episodes"]
    assert (episode["decisions"], episode["error"]) == (4, "")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_examples_stay_short(file: Path) -> None:
    assert 10 <= len(file.read_text().splitlines()) <= 40
