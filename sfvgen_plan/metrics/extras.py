"""Libraries that only the metrics need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sfvgen_plan.errors import UserError


def import_extra(module: str) -> Any:
    """Import a module of the extra ``metrics``.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(f"{package} is not installed; install it with: pip install 'sfvgen-plan[metrics]'") from error
