"""The report on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sfvgen_plan import cli
from sfvgen_plan.cli import doctor


def test_packages_are_listed_with_their_versions() -> None:
    checks = {check.name: check for check in doctor.check_packages()}
    assert checks["mujoco"].ok
    assert checks["mujoco"].detail == "3.3.0"
    assert not checks["ray"].needed


def test_a_missing_package_is_a_cross_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", ("no-such-package",))
    first = doctor.check_packages()[0]
    assert first.line().startswith("✗ no-such-package")
    assert "pip install no-such-package" in first.line()


def test_checkpoint_is_described_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(bytes(1_500_000))
    (tmp_path / "checkpoint.json").write_text(json.dumps({"tasks": ["reach-v3", "push-v3"]}))
    check = doctor.check_checkpoint(tmp_path)
    assert check.ok
    assert check.detail == f"{tmp_path.name}, 1.5 MB, 2 tasks: reach-v3, push-v3"


def test_an_empty_checkpoint_folder_is_a_failed_check(tmp_path: Path) -> None:
    check = doctor.check_checkpoint(tmp_path)
    assert not check.ok
    assert "no weights" in check.detail


def test_a_graphics_library_that_is_not_there_is_reported() -> None:
    code = (
        "import os; os.environ['MUJOCO_GL'] = 'disabled'\n"
        "from sfvgen_plan.cli.doctor import check_gl\n"
        "check = check_gl(); assert not check.ok and 'MUJOCO_GL' in check.detail, check"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_report_and_exit_code_agree(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["ready"] == (code == 0)
    assert report["ready"] == all(check["ok"] for check in report["checks"] if check["needed"])
    assert cli.main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(report["checks"]) + 1
