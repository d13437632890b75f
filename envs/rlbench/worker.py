"""Runs RLBench in a process of its own and serves one environment of ``sfvgen_plan``.

This file, ``control.py`` and ``inside.py`` beside it are all that runs in RLBench's interpreter (Python 3.8 or newer).
They import numpy, scipy, PyRep and RLBench, and nothing else of this project: its dependencies need not fit RLBench's.

``python worker.py PIPE LIFELINE`` takes two inherited file descriptors: a ``multiprocessing`` connection for messages,
and the reading end of a pipe that closes when the owner is gone, however it went.

A request is JSON, {"call": name, ...}. It is answered by two messages: {"value": {...}} or {"error": {"kind",
"message"}}, and the bytes of the newest camera frames (V, size, size, 3) uint8, which are none where there are no
cameras.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

CALLS = ("packages", "launch", "reset", "step", "demonstrate", "drop", "plan")  # of inside.Simulation


class Refusal(Exception):
    """A request that can't be met; ``kind`` tells the other side what to advise."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def load(name: str) -> Any:
    """A file beside this one by its path: this folder is not on the module path, where it might hide other modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("sfvgen_rlbench_" + name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def simulation() -> Any:
    """The simulator, not launched; tells apart what can be missing for it."""
    for package in ("pyrep", "rlbench"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise  # One of its own dependencies is missing.
            raise Refusal("no_" + package, str(error)) from error
        except ImportError as error:
            raise Refusal("no_library", str(error)) from error
        except Exception as error:
            if type(error).__name__ == "PyRepError":
                raise Refusal("no_root", str(error)) from error
            raise
    return load("inside").Simulation(load("control"))


def serve(connection: Connection) -> None:
    """Answer requests until "close" or the end of the connection."""
    simulator = None
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        name = request.pop("call", "")
        value: dict[str, Any] = {}
        try:
            if name == "hello":  # before anything heavy is imported
                value = {"python": platform.python_version(), "executable": sys.executable}
            elif name == "close":
                if simulator is not None:
                    simulator.close()
            elif name in CALLS:
                simulator = simulator or simulation()
                value = getattr(simulator, name)(**request)
            else:
                raise Refusal("unknown_call", repr(name))
            answer = {"value": value}
        except Exception as error:  # Whatever the simulator raises is told; the other side decides what it means.
            kind = getattr(error, "kind", type(error).__name__)
            answer = {"error": {"kind": kind, "message": str(error)}}
        try:
            connection.send_bytes(json.dumps(answer).encode())
            connection.send_bytes(b"" if simulator is None else simulator.frames)
        except OSError:
            return
        if name == "close":
            return


def end_with_owner(lifeline: int) -> None:
    """End this process when its owner ends, even in the middle of a call that never returns."""
    # By the kernel where it can: that works while native code holds the interpreter.
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> None:
    """Serve on the file descriptors given."""
    messages, lifeline = map(int, arguments)
    end_with_owner(lifeline)
    # Where scripts lie comes first on the module path; a file here must not hide a module that RLBench imports.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    serve(Connection(messages))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # CoppeliaSim's own exit handlers may hang or crash after a shutdown.


if __name__ == "__main__":
    main(sys.argv[1:])
