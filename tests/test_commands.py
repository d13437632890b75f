"""Every command that the README and the pages beside it show exists, with the options and settings that they give."""

import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from sfvgen_plan.agents.registry import agent_settings
from sfvgen_plan.cli import VERBS, import_module, main, parse_arguments
from sfvgen_plan.settings import compose, of_group

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/*.md", "benchmarks/protocols/*.md", "benchmarks/reproduce.sh", "Makefile")
COMMAND = re.compile(rf"(?:sfvgen-plan (?:{'|'.join(VERBS)})|python -m sfvgen_plan|make [a-z]+)\b[^`\n#|;)]*")
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
VARIABLE = re.compile(r"\$(\w+|@|\{[^}]*\})")
LONG = ("improve", "bench", "train", "train-agent")
VALUES = {"@": "", "task": "reach-v3", "agent": "prior"}


def commands():
    """(page, command)."""
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
        text = path.read_text().replace("\\\n", " ")
        if path.suffix in (".sh", ""):
            text = VARIABLE.sub(lambda found: VALUES.get(found[1], "runs"), text).replace('"', "")
        else:  # a span of code may go on in the next line
            text = "\n".join(
                found.strip("`").replace("\n", " ") if found[1] != "`" else found for found in CODE.findall(text)
            )
        for found in dict.fromkeys(COMMAND.findall(text)):
            yield str(path.relative_to(ROOT)), found.strip()


@pytest.mark.slow
def test_examples_of_verbs_end_within_a_minute_of_two_cores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^\| `([\w-]+)` \|.*`sfvgen-plan (.*)` \|$", (ROOT / "docs" / "tour.md").read_text(), re.M)
    assert {verb for verb, _ in shown} == {*VERBS}
    for verb, line in shown:
        if verb != "play" and verb not in LONG:  # which waits for a person
            before = sum(os.times()[:4])
            assert main(shlex.split(line)) == 0
            assert sum(os.times()[:4]) - before < 120, line


def test_commands_exist(monkeypatch):
    # Folders that the commands name need not be there.
    monkeypatch.setattr("sfvgen_plan.catalogue.find_checkpoint", lambda given, argument="": Path(str(given)))
    verbs = {verb: import_module(f"sfvgen_plan.cli.{verb.replace('-', '_')}") for verb in VERBS}
    makefile = (ROOT / "Makefile").read_text()
    seen = 0
    for page, command in commands():
        try:
            program, *words = shlex.split(command)
            if program == "make":
                assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), words[0]
            elif program == "python":
                assert find_spec(words[1]), words[1]
            elif {"...", "--help"}.isdisjoint(words) and any(word.startswith("-") for word in words):
                args = parse_arguments(words, verbs)  # a verb without options is only spoken of
                if args.verb in ("eval", "bench") and args.agent[:4] != "sb3:" and ":" not in args.agent:
                    agent_settings(args.agent, of_group(args.overrides, "agent")[0])
                if args.verb == "train":
                    compose("train", args.overrides)
            seen += 1
        except Exception as error:
            raise AssertionError(f"{page}: {command}: {error}") from error
    assert seen > 40
