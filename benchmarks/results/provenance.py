"""What a result may depend on besides its settings: versions, the commit, the machine."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("sfvgen-plan", "metaworld", "mujoco", "gymnasium", "torch", "diffusers", "numpy")


def now() -> str:
    """The time in UTC, for records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def provenance() -> dict[str, Any]:
    """JSON values for the record of a run: ``versions``, ``git_commit`` (None outside a checkout), ``started``."""
    return {"versions": versions(), "git_commit": git_commit(), "started": now()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, with "+changes" if tracked files differ from it."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        # A site-packages inside somebody else's repository is not a checkout of ours.
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()
