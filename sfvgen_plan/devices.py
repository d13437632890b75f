"""Which device computes."""

from __future__ import annotations

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
