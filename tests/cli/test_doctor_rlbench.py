"""The report on RLBench."""

import json

import pytest

from sfvgen_plan import cli

pytestmark = pytest.mark.usefixtures("fake_rlbench")


def report(capsys):
    code = cli.main(["doctor", "--simulator", "rlbench", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return code, {check["name"]: check for check in checks}


def test_everything_is_there_up_to_a_launch(capsys):
    code, checks = report(capsys)
    assert code == 0
    assert list(checks) == ["interpreter", "CoppeliaSim", "library path", "display", "launch", "physics", "planning"]
    assert "rlbench 1.2.0" in checks["library path"]["detail"]


@pytest.mark.parametrize(
    ("variable", "value", "piece", "message"),
    [
        ("SFVGEN_RLBENCH_PYTHON", "/no/python", "interpreter", "is not a program"),
        ("COPPELIASIM_ROOT", None, "CoppeliaSim", "COPPELIASIM_ROOT is not set"),
        ("PYTHONPATH", "", "library path", "set SFVGEN_RLBENCH_PYTHON"),
        ("FAKE_RLBENCH_FAULTS", "import:1:missing", "library path", "pyquaternion"),
        ("DISPLAY", None, "display", "xvfb-run"),
        ("FAKE_RLBENCH_FAULTS", "launch:1:abort", "launch", "xvfb-run"),
        ("FAKE_RLBENCH_FAULTS", "reset:1:crash", "launch", "exit code 139"),
        ("FAKE_RLBENCH_WITHOUT", "physics", "physics", "libsimExtDyn"),
        ("FAKE_RLBENCH_WITHOUT", "geometric", "planning", "libsimExtGeometric"),
        ("FAKE_RLBENCH_WITHOUT", "planner", "planning", "simAddOnScript_PyRep"),
    ],
)
def test_the_first_missing_piece_is_the_last_line(fake_rlbench, capsys, variable, value, piece, message):
    fake_rlbench.delenv(variable, raising=False)
    if value is not None:
        fake_rlbench.setenv(variable, value)
    code, checks = report(capsys)
    assert code == 1
    assert list(checks)[-1] == piece
    assert message in checks[piece]["detail"]
    assert [name for name, check in checks.items() if not check["ok"]] == [piece]
