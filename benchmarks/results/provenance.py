"""What a result may depend on besides its settings: versions, the commit, the time."""

import platform
import subprocess
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("sfvgen-plan", "metaworld", "mujoco", "gymnasium", "torch", "diffusers", "numpy")


def now() -> str:
    """The time in UTC, for records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def provenance() -> dict[str, Any]:
    """JSON values for the record of a run: ``versions``, ``git_commit`` (None outside a checkout), ``started``."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"versions": versions, "git_commit": git_commit(), "started": now()}


def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, with "+changes" if tracked files differ from it."""
    file = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        # A site-packages inside somebody else's repository is not a checkout of ours.
        git("ls-files", "--error-unmatch", file.name)
        return git("rev-parse", "HEAD") + "+changes" * bool(git("status", "--porcelain", "--untracked-files=no"))
    return None
