"""Files that are whole or absent, however the process that writes them ends."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfvgen_plan.errors import UserError


def check_writable(path: str | Path, argument: str = "path") -> None:
    """Refuse what ``atomic`` could not write to, before time is spent on what is to be written. Makes nothing. Raises
    UserError: no permission, a name too long, a file where a folder should be."""
    target = Path(path).absolute()
    try:
        target.exists()  # raises for a name that is too long
        folder = next(parent for parent in target.parents if parent.exists())
        if not folder.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK) or (target.is_file() and not os.access(target, os.W_OK)):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritable(path, argument, error) from None


def _unwritable(path: str | Path, argument: str, error: OSError) -> UserError:
    return UserError(f"{argument}={str(path)!r} can't be written to ({error.strerror or error}); give another path")


@contextmanager
def atomic(path: str | Path, argument: str = "path") -> Iterator[Path]:
    """A path to write a file or a folder to, beside ``path``; at the end of the block it takes the place of ``path``,
    which the user knows as ``argument``. Raises UserError: it can't be written there: no permission, no space, a name
    too long, a file where a folder should be.

    Where the block raises, what it wrote is removed and ``path`` stays as it was. Missing parent folders are made. A
    folder that stands at ``path`` is replaced as a whole.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".writing-") as staging:
            staged = Path(staging) / target.name
            yield staged
            if staged.is_dir() and target.is_dir():
                shutil.move(target, Path(staging) / "replaced-by-it")
            os.replace(staged, target)
    except OSError as error:
        raise _unwritable(path, argument, error) from error
