"""The commands and the code of docs/own_environment.md run, with tiny settings."""

import re
import shlex
from pathlib import Path

import pytest

from sfvgen_plan.cli import main

pytest.importorskip("pygame", reason="needs pip install '.[gym]'")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own_environment.md").read_text()
SMALLER = {
    "collect": ["--episodes", "3", "--decisions", "4", "--workers", "1"],
    "eval": ["--episodes", "1", "--max-decisions", "2"],
    "train": ["train=tiny", "train.model.autoencoder_widths=[8,8,16]"],
    "improve": ["episodes=1", "steps=1", "train=tiny", "train.model.autoencoder_widths=[8,8,16]", "--max-decisions=2"],
    "train-agent": ["--episodes", "0", "num_envs=2", "decisions=4", "algo.n_steps=2", "algo.batch_size=4"],
}


def test_the_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0]
    for line in shell.replace("\\\n", " ").splitlines():
        verb, *words = shlex.split(line)[1:]
        given = [word for word in words if not word.startswith("train")]
        assert main([verb, *given, *SMALLER[verb]]) == 0, line
    script, twin = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    Path("script.py").write_text(script)
    words = shlex.split(re.findall(r"# sfvgen-plan (.*)", script)[0])
    assert main([*words, *SMALLER["collect"]]) == 0
    exec(twin, {})
