"""What is said of a name that does not exist."""

from pathlib import Path

import pytest

from sfvgen_plan.errors import UserError, install_command, need_package, unknown_name

MANY = [f"task-{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def test_near_names_are_offered_and_where_none_is_near_a_few():
    said = str(unknown_name("agent", "priro", ["cem", "prior", "random"]))
    assert said == "agent='priro' is unknown; did you mean prior?"
    assert str(unknown_name("rule", "zzz", ["output", "local"])).endswith("did you mean local, output?")
    text = str(unknown_name("task", "zzz", MANY, listed="there"))
    assert text.count("task-") == 3  # of many
    assert text.endswith(", … and 23 more (all: there)?")
    assert "all:" not in str(unknown_name("task", "zzz", MANY))

    def last(name):  # parts of names may be compared
        return name.rpartition("/")[2]

    known = ["one/reach", "two/reach", "one/teach", "two/push"]
    assert str(unknown_name("task", "reach", known, last)).endswith("did you mean one/reach, two/reach?")
    assert str(unknown_name("task", "two/pusch", known, last)).endswith("did you mean two/push?")


def test_what_is_missing_is_told_with_the_command_that_installs_it(monkeypatch):
    checkout = Path(__file__).resolve().parents[1]
    monkeypatch.chdir(checkout)
    with pytest.raises(UserError, match=r"^no_such_package is not installed; pip install '\.\[sb3\]'$"):
        need_package("no_such_package", "sb3")
    monkeypatch.chdir("/")
    assert install_command("sb3") == f"pip install '{checkout}[sb3]'"
    monkeypatch.setattr("sfvgen_plan.errors.__file__", "/nowhere/sfvgen_plan/errors.py")
    assert install_command("play") == "pip install 'gradio>=6'"
