"""PyRep as far as the worker sees it."""

import ctypes.util  # noqa: F401 - as the real package, which loads a C library
import os
import signal

from pyrep.errors import PyRepError
from pyrep.objects.object import TABLE

__version__ = "4.1.0.3"

if "COPPELIASIM_ROOT" not in os.environ:
    raise PyRepError("COPPELIASIM_ROOT not defined. See installation instructions.")

_libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
if not any(folder and os.path.exists(os.path.join(folder, "libcoppeliaSim.so")) for folder in _libraries):
    raise ImportError("libcoppeliaSim.so.1: cannot open shared object file: No such file or directory")


class PyRep:
    """One simulator per process at a time."""

    running = False

    def launch(self, scene_file: str = "", headless: bool = False) -> None:
        from rlbench.faults import fault

        if PyRep.running:
            raise PyRepError("a simulator is running in this process")
        if "DISPLAY" not in os.environ and os.environ.get("QT_QPA_PLATFORM") != "offscreen":
            os.write(2, b"qt.qpa.xcb: could not connect to display\n")
            os.kill(os.getpid(), signal.SIGABRT)
        fault("launch")
        PyRep.running = True

    def shutdown(self) -> None:
        from rlbench.faults import fault

        fault("shutdown")
        PyRep.running = False
        TABLE.clear()

    def step(self) -> None:
        """Physics; the toy scene moves in ``Scene.step``."""
