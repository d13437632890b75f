"""``--device``: which one, and what it is called in tables."""

from __future__ import annotations

import os

from sfvgen_plan.devices import resolve_device

__all__ = ["PATIENT_THREADS", "cpu_cores", "device_name", "make_threads_patient", "resolve_device"]

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "LP_NUM_THREADS": "1"}
"""Idle threads of torch sleep instead of spinning, and the software renderer keeps to one. With the defaults they take
the cores from each other: planning between rendered frames was five times slower on two busy cores."""


def make_threads_patient() -> None:
    """Set ``PATIENT_THREADS`` where nothing else is set. The libraries read them once, so call this before torch and
    MuJoCo are imported."""
    for name, value in PATIENT_THREADS.items():
        os.environ.setdefault(name, value)


def device_name(device: str) -> str:
    """What to call a device beside a time measured on it."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({cpu_cores()} cores)" if device == "cpu" else device


def cpu_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
