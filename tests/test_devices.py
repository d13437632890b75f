"""Devices and threads."""

import os
import subprocess
import sys

import pytest

from sfvgen_plan.devices import PATIENT_THREADS, device_name, make_threads_patient, resolve_device
from sfvgen_plan.errors import UserError


def test_auto_is_a_device_that_exists_and_others_are_refused():
    assert resolve_device("auto").partition(":")[0] in ("cpu", "cuda")
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(UserError, match="give one of auto, cpu"):
        resolve_device("warp")
    assert device_name("cpu").startswith("CPU (")


def test_thread_settings_of_the_user_are_kept_and_what_can_not_be_set_any_more_is_told(monkeypatch, caplog):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("LP_NUM_THREADS", "")
    monkeypatch.delenv("LP_NUM_THREADS")
    make_threads_patient()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["LP_NUM_THREADS"] == PATIENT_THREADS["LP_NUM_THREADS"]
    monkeypatch.setitem(sys.modules, "torch", sys.modules.get("torch", sys))
    make_threads_patient()
    assert not caplog.records  # set by the user, or by this package in time
    monkeypatch.delenv("OMP_WAIT_POLICY")
    make_threads_patient()
    assert "import sfvgen_plan first, or set OMP_WAIT_POLICY=PASSIVE" in caplog.text


def test_importing_the_package_makes_them_before_anything_reads_them():
    modules = ", ".join(f"sfvgen_plan.{name}" for name in ("benchmarks.running.evaluation", "cli.eval", "envs"))
    code = (
        f"import sys, os, {modules}; assert not {{'torch', 'mujoco'}} & set(sys.modules);"
        f"assert {PATIENT_THREADS}.items() <= os.environ.items()"
    )
    environment = {name: value for name, value in os.environ.items() if name not in PATIENT_THREADS}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
