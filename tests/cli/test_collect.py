"""The ``collect`` verb."""

import json
from argparse import ArgumentParser

import pytest

from sfvgen_plan.benchmarks.protocols import protocol_names
from sfvgen_plan.cli import main
from sfvgen_plan.cli.collect import add_arguments, chosen
from sfvgen_plan.data.episodes import load_episodes


def test_collects_and_says_so(tmp_path, capsys):
    out = tmp_path / "set"
    short = ["--episodes", "2", "--decisions", "3", "--size", "16"]
    assert main(["collect", "--task", "reach-v3", "--out", str(out), *short, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": str(out),
        "tasks": ["reach-v3"],
        "episodes": 2,
        "decisions": 6,
    }
    assert len(load_episodes(out)) == 2


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--suite", "ivideogpt6"], ("corner", 64, 2, 50)),
        (["--suite", "ivideogpt6", "--size", "32", "--repeat", "3"], ("corner", 32, 3, 50)),
        (["--suite", "ivideogpt6", "--camera", "corner2", "--decisions", "9"], ("corner2", 64, 2, 9)),
        (["--task", "hammer-v3"], ("corner4", 128, 5, 50)),
    ],
)
def test_a_protocols_frames_are_taken_with_its_tasks(options, frames):
    assert frames_of(*options) == frames


@pytest.mark.parametrize("suite", [name for name in protocol_names() if name != "ivideogpt6"])
def test_other_protocols_have_the_usual_frames_of_their_simulator(suite):
    usual = {"memory": ("own", 128, 5, 200)}
    usual |= {name: ("front+wrist", 128, 1, 50) for name in protocol_names() if name.startswith("rlbench")}
    assert frames_of("--suite", suite) == usual.get(suite, ("corner4", 128, 5, 50))


def frames_of(*options):
    """What these options would collect: camera, size, raw steps per decision and decisions."""
    parser = ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["--out", "set", *options])
    return tuple(chosen(args)[1].values())
