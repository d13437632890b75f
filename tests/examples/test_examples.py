"""The examples, and the commands and the code of docs/own_environment.md, run as they stand, with small budgets."""

import re
import runpy
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sfvgen_plan.cli import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(small_checkpoint, monkeypatch, capsys):
    """Function that runs an example with a small checkpoint in this process; the lines that it prints."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [name, "--checkpoint", str(small_checkpoint), *options])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_a_plain_loop(run):
    said = run("plain_loop.py", "--envs", "2", "--horizon", "3", "--updates", "2")
    assert [line.split()[:2] for line in said] == [["update", "0"], ["update", "1"]]


@pytest.mark.skipif(find_spec("torchrl") is None, reason="torchrl is not installed: pip install torchrl")
def test_torchrl(run):
    assert "2 decisions, return" in run("torchrl_env.py", "--decisions", "2")[-1]


@pytest.mark.skipif(find_spec("stable_worldmodel") is None, reason="needs pip install stable-worldmodel")
def test_solvers_of_stable_worldmodel(run):
    said = [line for line in run("stable_worldmodel_solvers.py", "--decisions", "2") if "reward of 2 planned" in line]
    assert [line.partition(":")[0] for line in said] == ["CEMSolver", "GradientSolver"]


def test_a_callable(run):
    imagined, real = run("callable_agent.py", "--decisions", "2")
    assert imagined.startswith("sfvgen/Imagined-v0: solved")
    assert real.startswith("sfvgen/Metaworld-v0: solved")


def test_a_module_and_factory(tmp_path, monkeypatch, said):
    monkeypatch.chdir(EXAMPLES)
    command = ("eval", "--task", "reach-v3", "--agent", "factory_agent:make", "agent.push=0.5", "--episodes", "1")
    (episode,) = said(*command, "--max-decisions", "2", "--out", str(tmp_path / "run"))["episodes"]
    assert (episode["decisions"], episode["error"]) == (2, "")


SMALLER = {
    "collect": ["--episodes", "3", "--decisions", "4", "--workers", "1"],
    "eval": ["--episodes", "1", "--max-decisions", "2"],
    "train": ["train=tiny", "train.model.autoencoder_widths=[8,8,16]"],
    "improve": ["episodes=1", "steps=1", "train=tiny", "train.model.autoencoder_widths=[8,8,16]", "--max-decisions=2"],
    "train-agent": ["--episodes", "0", "num_envs=2", "decisions=4", "algo.n_steps=2", "algo.batch_size=4"],
}


@pytest.mark.skipif(find_spec("pygame") is None, reason="needs pip install '.[gym]'")
def test_the_page_of_own_environments(own_folder):
    page = (EXAMPLES.parent / "docs" / "own_environment.md").read_text()
    shell = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0]
    for line in shell.replace("\\\n", " ").splitlines():
        verb, *words = shlex.split(line)[1:]
        given = [word for word in words if not word.startswith("train")]
        assert main([verb, *given, *SMALLER[verb]]) == 0, line
    script, twin = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (own_folder / "script.py").write_text(script)
    words = shlex.split(re.findall(r"# sfvgen-plan (.*)", script)[0])
    assert main([*words, *SMALLER["collect"]]) == 0
    exec(twin, {})
