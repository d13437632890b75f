"""Errors a user can mend: one clear line, no traceback, exit code 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Bad input. The message names the argument, its value and the remedy; the CLI prints it and exits with code 2."""


def unknown_name(argument: str, name: str, known: Iterable[str]) -> UserError:
    """Error for a name that does not exist, with the nearest names that do."""
    choices = sorted(known)
    nearest = get_close_matches(name, choices, n=3, cutoff=0.5) or choices
    return UserError(f"{argument}={name!r} is unknown; did you mean {', '.join(nearest)}?")
