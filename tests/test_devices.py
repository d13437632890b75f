"""Devices and threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sfvgen_plan.devices import PATIENT_THREADS, device_name, make_threads_patient, resolve_device
from sfvgen_plan.errors import UserError


def test_auto_is_a_device_that_exists_and_others_are_refused() -> None:
    assert resolve_device("auto").partition(":")[0] in ("cpu", "cuda")
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(UserError, match="give one of auto, cpu"):
        resolve_device("warp")


def test_times_on_a_cpu_are_shown_with_its_cores() -> None:
    assert device_name("cpu").startswith("CPU (")


def test_thread_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("LP_NUM_THREADS", "")
    monkeypatch.delenv("LP_NUM_THREADS")
    make_threads_patient()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["LP_NUM_THREADS"] == PATIENT_THREADS["LP_NUM_THREADS"]


def test_nothing_that_reads_thread_settings_is_loaded_before_they_are_made() -> None:
    modules = ", ".join(
        f"sfvgen_plan.{name}" for name in ("benchmarks.running.runner", "benchmarks.running.recorded", "cli.eval")
    )
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'mujoco'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
