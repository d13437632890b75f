"""The dispatcher: verbs, exit codes, one-line errors, signals."""

import errno
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from sfvgen_plan import cli
from sfvgen_plan.agents.registry import agent_names
from sfvgen_plan.arguments import add_overrides, positive_int
from sfvgen_plan.cli import parse_arguments
from sfvgen_plan.errors import UserError

HEAVY = ("numpy", "torch", "mujoco", "metaworld", "hydra", "diffusers", "transformers", "gymnasium", "rich")


def verb(run=lambda args: 0):
    def add_arguments(parser):
        parser.add_argument("--task", required=True)
        parser.add_argument("--episodes", type=positive_int, default=1)
        add_overrides(parser)

    return SimpleNamespace(HELP="plays", add_arguments=add_arguments, run=run)


def parse(*argv):
    return parse_arguments(argv, {"play": verb(), "doctor": verb()})


def refusal(*argv):
    with pytest.raises(UserError) as caught:
        parse(*argv)
    return str(caught.value)


def test_help_lists_the_verbs_without_heavy_imports():
    code = (
        "import sys; from sfvgen_plan.cli import main\n"
        "try: main(['--help'])\n"
        f"finally: loaded = set({HEAVY!r}) & set(sys.modules); sys.stderr.write(repr(sorted(loaded)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]"
    assert all(re.search(rf"^    {name}\s", done.stdout, re.MULTILINE) for name in cli.VERBS)


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_explains_itself_in_eighty_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"sfvgen-plan {name}" in out
    assert max(map(len, out.splitlines())) <= 80
    if name == "eval":
        assert set(agent_names()) <= set(out.replace(",", " ").split())


def test_nearest_verb_and_option_are_named_and_values_checked():
    assert "did you mean play?" in refusal("plya")
    assert "did you mean --episodes?" in refusal("play", "--task", "t", "--episode", "3")
    assert "did you mean --task?" in refusal("play", "--taks=t")

    assert "0 is too small" in refusal("play", "--task", "t", "--episodes", "0")
    assert "'x' is not a whole number" in refusal("play", "--task", "t", "--episodes", "x")
    assert "--task" in refusal("play")
    # Overrides stand anywhere among the options.
    args = parse("play", "a=1", "--task", "t", "b.c=2", "--quiet", "d=3")
    assert (args.verb, args.task, args.quiet, args.json) == ("play", "t", True, False)
    assert args.overrides == ["a=1", "b.c=2", "d=3"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("size=0 is too small;\n  use 16 or more"), "size=0 is too small; use 16 or more"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/data.hdf5"),
            "out/data.hdf5 can't be written (No space left on device); give another",
        ),
    ],
)
def test_errors_of_the_user_and_of_the_system_end_in_one_line(error, line, monkeypatch, capsys):
    def run(args):
        raise error

    monkeypatch.setattr(cli, "VERBS", ("doctor",))
    monkeypatch.setattr("sfvgen_plan.cli.doctor.run", run)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_run_finally_blocks(number, code):
    script = (
        "import sys, time\n"
        "from sfvgen_plan import cli\n"
        "from sfvgen_plan.cli import doctor\n"
        "def run(args):\n"
        "    try:\n"
        "        print('working', flush=True); time.sleep(30)\n"
        "    finally:\n"
        "        print('kept', flush=True)\n"
        "doctor.run = run\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True) as p:
        assert p.stdout is not None and p.stderr is not None
        assert p.stdout.readline() == "working\n"
        start = time.monotonic()
        p.send_signal(number)
        assert p.wait(timeout=10) == code
        assert time.monotonic() - start < 5
        assert p.stdout.read() == "kept\n"
        assert "Traceback" not in p.stderr.read()


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m sfvgen_plan.cli --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
