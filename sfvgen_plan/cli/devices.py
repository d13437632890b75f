"""``--device``: which one, and what it is called in tables."""

from __future__ import annotations

import os

from sfvgen_plan.errors import UserError


def resolve_device(name: str) -> str:
    """A device that torch has here; "auto" is the GPU if there is one. Imports torch.

    Raises:
        UserError: no such device.
    """
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
