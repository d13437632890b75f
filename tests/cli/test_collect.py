"""The ``collect`` verb."""

from argparse import ArgumentParser

from sfvgen_plan.benchmarks.protocols import protocol_names
from sfvgen_plan.cli.collect import add_arguments, chosen
from sfvgen_plan.data.episodes import load_episodes


def test_collects_and_says_so(tmp_path, said):
    out = str(tmp_path / "set")
    short = ["--episodes", "2", "--decisions", "3", "--size", "16", "--workers", "1"]
    told = said("collect", "--task", "reach-v3", "--out", out, *short)
    assert told == {"out": out, "tasks": ["reach-v3"], "episodes": 2, "decisions": 6}
    assert len(load_episodes(tmp_path / "set")) == 2


def test_a_protocols_frames_are_taken_with_its_tasks_and_else_the_usual_ones_of_the_simulator():
    usual = dict.fromkeys(protocol_names(), ("corner4", 128, 5, 50))
    usual |= {name: ("front+wrist", 128, 1, 50) for name in usual if name.startswith("rlbench")}
    usual |= {"memory": ("own", 128, 5, 200), "ivideogpt6": ("corner", 64, 2, 50)}
    asked = {f"--suite {name}": frames for name, frames in usual.items()} | {
        "--suite ivideogpt6 --size 32 --repeat 3": ("corner", 32, 3, 50),
        "--suite ivideogpt6 --camera corner2 --decisions 9": ("corner2", 64, 2, 9),
        "--task hammer-v3": ("corner4", 128, 5, 50),
    }
    parser = ArgumentParser()
    add_arguments(parser)
    for options, frames in asked.items():
        args = parser.parse_args(["--out", "set", *options.split()])
        assert tuple(chosen(args)[1].values()) == frames, options
