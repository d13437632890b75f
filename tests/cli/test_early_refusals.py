"""Mistyped options are told before torch is imported, which takes many seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.agents.players import agent_names
from sfvgen_plan.arguments import run_script

LONG = "x" * 300
REFUSED = {
    "eval --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "imagine --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "play --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "fidelity --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train-agent --task reach-v3 --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train --data . --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "train --data . train.video.fit.steps=-1": "train.video.fit.steps=-1 must be at least 0",
    "train train=nope": "train='nope' is unknown",
    "fidelity --agent nope": "agent='nope' is unknown",
    "fidelity --agent expert": "acts on the true state",
    "fidelity --agent prior agent.candidates=3": "names no setting",
    "fidelity --task memory/return": "task='memory/return' is not covered by checkpoint='metaworld50'",
    "play --task memory/return": "memory tasks can't be played by hand",
    "play --task rlbench/reach_target": "RLBench can't be played by hand",
    "eval --suite ivideogpt6 --agent prior": "was trained with camera='corner4', but protocol 'ivideogpt6' has",
    "bench memory --checkpoint metaworld50": "task='memory/revisit' is not covered by checkpoint='metaworld50'",
    "bench memory --checkpoint metaworld50 --part cue": "task='memory/cue' is not covered",
    "bench memory": "required: --checkpoint",
    "bench memory --checkpoint nope": "checkpoint='nope' holds no checkpoint.json",
    "bench memory --checkpoint metaworld50 foo=1": "override 'foo=1' names no setting",
    f"eval --task reach-v3 --out {LONG}": "File name too long",
    "eval --task reach-v3 --video /dev/null/v.mp4": "video='/dev/null/v.mp4' can't be written to (Not a directory)",
    "imagine --task reach-v3 --out /dev/null/v.mp4": "out='/dev/null/v.mp4' can't be written to (Not a directory)",
    f"collect --task reach-v3 --out {LONG}/set": "File name too long",
    "collect --task reach-v3 --out /dev/null/set": "out='/dev/null/set' can't be written to (Not a directory)",
    "train --data . --out /dev/null/trained": "out='/dev/null/trained' can't be written to (Not a directory)",
    "train-agent --task reach-v3 --out /dev/null/ppo": "out='/dev/null/ppo' can't be written to (Not a directory)",
    "improve --task reach-v3 --out /dev/null/rounds": "out='/dev/null/rounds' can't be written to (Not a directory)",
    "leaderboard --html /dev/null/page.html": "html='/dev/null/page.html' can't be written to (Not a directory)",
}
"""Command lines, and what is said of them."""


def test_they_are_one_line_each_and_import_no_torch(tmp_path: Path) -> None:
    code = (
        "import contextlib, io, json, sys; from sfvgen_plan.cli import main\n"
        "said = {}\n"
        "for line in json.load(sys.stdin):\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        code = main(line.split())\n"
        "    said[line] = [code, out.getvalue(), err.getvalue(), 'torch' in sys.modules]\n"
        "print(json.dumps(said))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input=json.dumps(list(REFUSED)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for line, (status, out, err, imported) in json.loads(done.stdout).items():
        assert (status, out, imported) == (2, "", False), (line, err)
        assert err.startswith("error: ") and err.count("\n") == 1, (line, err)
        assert REFUSED[line] in err, (line, err)
    assert list(tmp_path.iterdir()) == []


def test_programs_beside_the_verbs_say_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from argparse import ArgumentParser

    from sfvgen_plan.arguments import add_model_arguments

    parser = ArgumentParser()
    add_model_arguments(parser)
    assert run_script(parser, lambda args: None, ["--checkpoint", "nope"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: checkpoint='nope' holds no")
    assert captured.err.count("\n") == 1


def test_the_help_of_eval_names_every_agent(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["eval", "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(agent_names()) <= set(words)
