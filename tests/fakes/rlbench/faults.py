"""Faults on demand: ``FAKE_RLBENCH_FAULTS="step:3:hang,reset:2:abort"``."""

import itertools
import os
import signal
import time

_calls = {}


class TaskEnvironmentError(Exception):
    """As RLBench's, by its name."""


def fault(place):
    """Called on every visit of ``place``; fails when the visit is one that was asked for, or says that all is lost."""
    _calls[place] = _calls.get(place, 0) + 1
    for entry in filter(None, os.environ.get("FAKE_RLBENCH_FAULTS", "").split(",")):
        where, visit, what = entry.split(":")
        if where == place and int(visit) == _calls[place] and _first_time():
            if what == "lost":
                return True
            _fail(what)
    return False


def _first_time():
    marker = os.environ.get("FAKE_RLBENCH_ONCE")
    if not marker:
        return True
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _fail(what):
    errors = {
        "task": TaskEnvironmentError("could not place the task"),
        "missing": ModuleNotFoundError("No module named 'pyquaternion'", name="pyquaternion"),
    }
    signals = {"abort": signal.SIGABRT, "crash": signal.SIGSEGV, "kill": signal.SIGKILL}
    if what in errors:
        raise errors[what]
    if what in signals:
        os.write(2, b"terminating\n")
        os.kill(os.getpid(), signals[what])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "seize":  # as native code that never returns and keeps the interpreter to itself
        sum(itertools.repeat(0))
    while True:  # "hang"
        time.sleep(3600)
