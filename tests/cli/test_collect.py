"""The ``collect`` verb."""

import json

import pytest

from sfvgen_plan.cli import main
from sfvgen_plan.data.episodes import load_episodes


def test_collects_and_says_so(tmp_path, capsys):
    out = tmp_path / "set"
    arguments = [
        "--task",
        "reach-v3",
        "--out",
        str(out),
        "--episodes",
        "2",
        "--decisions",
        "3",
        "--size",
        "16",
        "--json",
    ]
    assert main(["collect", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": str(out),
        "tasks": ["reach-v3"],
        "episodes": 2,
        "decisions": 6,
    }
    assert len(load_episodes(out)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "reech-v3"], "reach-v3"),
        (["--suite", "metaworld-11"], "metaworld-10"),
        (["--task", "reach-v3", "--episodes", "0"], "episodes=0"),
        (["--task", "reach-v3", "--seed", "7"], "seed=7"),
        (["--task", "reach-v3", "--workers", "0"], "workers=0"),
        ([], "--task"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, options, message):
    assert main(["collect", "--out", str(tmp_path / "set"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
