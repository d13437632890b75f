"""Errors a user can mend: one clear line, no traceback, exit code 2."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

MOST_LISTED = 12  # names that are listed in full; of more, only the nearest
NEAREST = 3


class UserError(ValueError):
    """Bad input. The message names the argument, its value and the remedy; the CLI prints it and exits with code 2."""


def reason(error: BaseException) -> str:
    """What another library says of its error, in one line: the first of its message, or its type if it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class SimulatorError(RuntimeError):
    """A simulator failed in a way that no input explains. Its environment starts it again at the next reset."""


def need_package(name: str, extra: str) -> None:
    """Refuse to go on without an optional package. Raises UserError: it is not installed; the message has the command
    that installs it from where the user stands."""
    if find_spec(name) is None:
        raise UserError(f"{name} is not installed; {install_command(extra)}")


def install_command(extra: str) -> str:
    """The command that installs what an extra stands for, from a checkout or beside an installed package."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return f"pip install '{'.' if checkout == Path.cwd() else checkout}[{extra}]'"
    from importlib.metadata import requires

    mark = f'extra == "{extra}"'
    needed = [item.partition(";")[0].strip() for item in requires("sfvgen-plan") or () if mark in item]
    return " ".join(["pip install", *(f"'{item}'" for item in needed)])


def unknown_name(
    argument: str, name: str, known: Iterable[str], key: Callable[[str], str] = str, listed: str = ""
) -> UserError:
    """Error for a name given as ``argument`` that does not exist, with the nearest names of those ``known``. ``key``:
    the part of a name that is compared; all names of the same part are named. ``listed``: where to look all of them up,
    said where they are too many for a line."""
    choices = sorted(known)
    nearest = _nearest(name, choices, key, cutoff=0.5)
    rest = ""
    if not nearest and len(choices) <= MOST_LISTED:
        nearest = choices
    elif not nearest:
        nearest = _nearest(name, choices, key, cutoff=0.0)
        rest = f", … and {len(choices) - len(nearest)} more"
        rest += f" (all: {listed})" if listed else ""
    return UserError(f"{argument}={name!r} is unknown; did you mean {', '.join(nearest)}{rest}?")


def _nearest(name: str, choices: Iterable[str], key: Callable[[str], str], cutoff: float) -> list[str]:
    """Those that are alike, the most alike first; where one is the same, all that are the same and no others."""
    spelt: dict[str, list[str]] = {}
    for choice in choices:
        spelt.setdefault(key(choice), []).append(choice)
    word = key(name)
    return spelt.get(word) or [
        choice for near in get_close_matches(word, spelt, n=NEAREST, cutoff=cutoff) for choice in spelt[near]
    ]
