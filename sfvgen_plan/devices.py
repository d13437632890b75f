"""Which device computes, how many cores there are, and how threads wait."""

import logging
import os
import sys

from sfvgen_plan.errors import UserError

logger = logging.getLogger(__name__)

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "20000", "LP_NUM_THREADS": "1"}
"""Idle threads of torch spin for some microseconds and then sleep, and the software renderer keeps to one. With the
defaults they take the cores from each other: planning between rendered frames was five times slower on two busy cores.
Without any spinning an imagined step is a third slower on idle ones."""


def make_threads_patient() -> None:
    """Set ``PATIENT_THREADS`` where nothing else is set. The libraries read them once, so this has to come before torch
    and MuJoCo are imported: ``import sfvgen_plan`` does it, and says so where it comes too late."""
    if "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        logger.warning(
            "torch was imported before sfvgen_plan, so its idle threads spin and slow down all that runs beside them; "
            "import sfvgen_plan first, or set OMP_WAIT_POLICY=PASSIVE"
        )
    for name, value in PATIENT_THREADS.items():
        os.environ.setdefault(name, value)


def resolve_device(name: str) -> str:
    """A device that torch has here; "auto" is the GPU if there is one. Imports torch. Raises UserError: none such."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        known = ["auto", "cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise UserError(f"device={name!r} can't be used here; give one of {', '.join(known)}") from None
    return name


def device_name(device: str) -> str:
    """What to call a device beside a time measured on it."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({cpu_cores()} cores)" if device == "cpu" else device


def cpu_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
