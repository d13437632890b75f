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

    simulated = 0

    def launch(self, scene_file="", headless=False):
        from rlbench.faults import fault

        if "DISPLAY" not in os.environ and os.environ.get("QT_QPA_PLATFORM") != "offscreen":
            os.write(2, b"qt.qpa.xcb: could not connect to display\n")
            os.kill(os.getpid(), signal.SIGABRT)
        fault("launch")

    def shutdown(self):
        from rlbench.faults import fault

        fault("shutdown")
        TABLE.clear()

    def start(self):
        """What was simulated before leaves traces, unless the simulation is stopped and started again."""
        self.simulated = 0

    def stop(self):
        pass

    def step(self):
        """Physics of shapes, where the plug-in for them is there; the toy scene moves in ``Scene.step``."""
        self.simulated += 1
        falls_through = "physics" in os.environ.get("FAKE_RLBENCH_WITHOUT", "")
        for record in TABLE.values():
            if record.size:
                record.position[2] = -1.0 if falls_through else 0.75 + record.size[2] / 2
