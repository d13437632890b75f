"""The report on this machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.cli import doctor


def test_packages_are_listed_with_their_versions_and_what_is_missing_with_the_remedy(monkeypatch):
    checks = {check.name: check for check in doctor.check_packages()}
    assert (checks["mujoco"].ok, checks["mujoco"].detail, checks["ray"].needed) == (True, "3.3.0", False)
    monkeypatch.setattr(doctor, "REQUIRED", ("no-such-package",))
    line = doctor.check_packages()[0].line()
    assert line.startswith("✗ no-such-package") and "pip install no-such-package" in line


def test_checkpoint_is_loaded_and_described_or_said_to_be_damaged(small_checkpoint, tmp_path, capsys):
    check = doctor.check_checkpoint(small_checkpoint)
    assert check.ok
    size = sum(path.stat().st_size for path in small_checkpoint.rglob("*") if path.is_file()) / 1e6
    assert check.detail == f"{small_checkpoint.name}, {size:.1f} MB, 2 tasks: reach-v3, push-v3"
    lines = doctor.Check("checkpoint", True, ", ".join(["reach-v3"] * 50)).line().splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 80
    copy = Path(shutil.copytree(small_checkpoint, tmp_path / "copy"))
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    check = doctor.check_checkpoint(copy)
    assert not check.ok and "missing or damaged" in check.detail and "\n" not in check.detail
    assert capsys.readouterr().err == ""


def test_a_graphics_library_that_is_not_there_is_reported():
    code = (
        "import os; os.environ['MUJOCO_GL'] = 'disabled'\n"
        "from sfvgen_plan.envs.rendering import examine\n"
        "(name, ok, detail), = examine(); assert not ok and 'MUJOCO_GL' in detail, detail"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_report_and_exit_code_agree(capsys):
    code = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] == (code == 0)
    assert report["ready"] == all(check["ok"] for check in report["checks"] if check["needed"])
    assert cli.main(["doctor"]) == code
    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    assert len(lines) == len(report["checks"]) + 1


def report(capsys):
    code = cli.main(["doctor", "--simulator", "rlbench", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return code, {check["name"]: check for check in checks}


@pytest.mark.usefixtures("fake_rlbench")
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
