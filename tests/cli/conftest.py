"""Command lines and what they say."""

import json

import pytest

from sfvgen_plan import cli


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys):
    """Function that runs a command line and gives what it says as JSON."""

    def run(*argv):
        assert cli.main([*argv, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys):
    """Function that gives the one line that bad input ends in."""

    def run(*argv):
        assert cli.main([*argv]) == 2, argv
        captured = capsys.readouterr()
        line = captured.err.removesuffix("\n")
        assert captured.out == "" and line.startswith("error: ") and "\n" not in line, captured
        return line

    return run


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint):
    """Folder of an untrained checkpoint of two tasks, whose frames have the real size."""
    from sfvgen_plan.envs.metaworld.family import TASKS

    return make_checkpoint({task: TASKS[task] for task in ("reach-v3", "drawer-close-v3")}, size=128)
