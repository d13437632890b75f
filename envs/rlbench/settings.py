"""Where RLBench is on this machine, and how long to wait for it."""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sfvgen_plan.errors import UserError

PYTHON_VARIABLE = "SFVGEN_RLBENCH_PYTHON"
ROOT_VARIABLE = "COPPELIASIM_ROOT"
LIBRARY = "libcoppeliaSim.so"


@dataclass(frozen=True)
class WorkerSettings:
    """How the worker process is started and how patient its owner is.

    Attributes:
        python: interpreter that has RLBench; None: ``SFVGEN_RLBENCH_PYTHON``, or this interpreter.
        start_seconds: for the interpreter to answer at all.
        launch_seconds, reset_seconds, step_seconds, demonstration_seconds, close_seconds: for each call.
    """

    python: str | None = None
    start_seconds: float = 30.0
    launch_seconds: float = 120.0
    reset_seconds: float = 120.0
    step_seconds: float = 60.0
    demonstration_seconds: float = 600.0
    close_seconds: float = 5.0

    @property
    def interpreter(self) -> str:
        """The interpreter's path. Raises UserError: there is no such program."""
        chosen = self.python or os.environ.get(PYTHON_VARIABLE) or sys.executable
        found = shutil.which(chosen)
        if found is None:
            raise UserError(
                f"{PYTHON_VARIABLE}={chosen!r} is not a program; give the Python of the environment that has RLBench"
            )
        return found

    def environment(self, images: bool) -> dict[str, str]:
        """Variables for the worker: CoppeliaSim's folder makes its libraries and Qt plug-ins known as well.

        Without ``images`` the simulator needs no display.
        """
        variables = dict(os.environ)
        root = variables.get(ROOT_VARIABLE)
        if root:
            paths = [root, *filter(None, [variables.get("LD_LIBRARY_PATH")])]
            variables["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
            variables["QT_QPA_PLATFORM_PLUGIN_PATH"] = root
        if not images:
            variables.setdefault("QT_QPA_PLATFORM", "offscreen")
        variables.setdefault("OMP_NUM_THREADS", "1")
        variables.setdefault("XDG_RUNTIME_DIR", _runtime_folder())
        return variables

    def check(self, images: bool) -> None:
        """Look for what a launch needs, without starting anything. Raises UserError: the first thing that is missing,
        and its remedy."""
        _ = self.interpreter
        check_root()
        if images:
            check_display()


def _runtime_folder() -> str:
    """A folder of the user's own, without which Qt complains."""
    folder = Path(tempfile.gettempdir()) / f"sfvgen-runtime-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder)


def check_root() -> Path:
    """CoppeliaSim's folder. Raises UserError: the variable is not set, or what it names has no CoppeliaSim."""
    root = os.environ.get(ROOT_VARIABLE)
    if not root:
        raise UserError(f"{ROOT_VARIABLE} is not set; set it to the folder of CoppeliaSim 4.1")
    if not any(Path(root).glob(f"{LIBRARY}*")):
        raise UserError(f"{ROOT_VARIABLE}={root!r} has no {LIBRARY}; set it to the folder of CoppeliaSim 4.1")
    return Path(root)


def check_display() -> str:
    """The X display that images need. Raises UserError: none is named."""
    display = os.environ.get("DISPLAY")
    if not display:
        raise UserError("DISPLAY is not set, and RLBench needs an X server for images; put `xvfb-run -a` in front")
    return display
