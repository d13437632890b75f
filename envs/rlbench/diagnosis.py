"""What is missing when RLBench does not start, or does not do what it should, in one line with the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sfvgen_plan.envs.rlbench.family import FAMILY, FORK_ONLY
from sfvgen_plan.envs.rlbench.process import RefusedError, SimulatorDiedError, WorkerProcess
from sfvgen_plan.envs.rlbench.settings import (
    LIBRARY,
    PYTHON_VARIABLE,
    ROOT_VARIABLE,
    WorkerSettings,
    check_display,
    check_root,
)
from sfvgen_plan.errors import SimulatorError, UserError

ABORTED = 134
"""Exit code of a process that aborted, as Qt does when it finds no display."""

PROBE, SIZE = "reach_target", 64
RESTS_WITHIN = 0.05
"""Metres within which a cube of 5 cm comes to rest on the table, 0.75 m above the floor."""

_ELSEWHERE = f"set {PYTHON_VARIABLE} to the Python of the environment that has RLBench"
_DISPLAY = "put `xvfb-run -a` in front, and install Mesa: sudo apt-get install -y xvfb libgl1-mesa-dri libglx-mesa0"
_PLUGINS = f"unpack CoppeliaSim 4.1 again: {{}} must lie in the folder {ROOT_VARIABLE}"


def explain_launch(
    error: RefusedError | SimulatorDiedError, settings: WorkerSettings, task: str, images: bool
) -> Exception:
    """The error to raise for a launch that failed: ``UserError`` where the user can mend it."""
    if isinstance(error, SimulatorDiedError):
        if error.exit_code == ABORTED and images:
            display = settings.environment(images).get("DISPLAY")
            return UserError(f"DISPLAY={display!r} can't be used: RLBench aborted at its start ({error}); {_DISPLAY}")
        return SimulatorError(f"RLBench did not start: {error}")
    python = settings.interpreter
    fork = "only the fork behind the 18-task leaderboards has it, so install that one"
    has_it = fork if task.removeprefix(FAMILY.prefix) in FORK_ONLY else "install RLBench 1.2.0"
    advice = {
        "no_pyrep": f"python={python!r} has no PyRep ({error}); {_ELSEWHERE}",
        "no_rlbench": f"python={python!r} has no RLBench ({error}); {_ELSEWHERE}",
        "no_library": f"PyRep can't load a library ({error}); if it is {LIBRARY}.1, link it to {LIBRARY} in the folder "
        f"{ROOT_VARIABLE} (ln -s {LIBRARY} {LIBRARY}.1), else install the package that has it",
        "no_root": f"PyRep does not find CoppeliaSim ({error}); set {ROOT_VARIABLE} to its folder",
        "PyRepError": f"PyRep does not start CoppeliaSim ({error}); check {ROOT_VARIABLE}",
        "ModuleNotFoundError": f"python={python!r} lacks a module ({error}); install it there, or {_ELSEWHERE}",
        "ImportError": f"python={python!r} can't import what RLBench needs ({error}); {_ELSEWHERE}",
        "unknown_task": f"task={task!r} is not in the RLBench of {python!r}; {has_it}",
    }
    if error.kind in advice:
        return UserError(advice[error.kind])
    return SimulatorError(f"RLBench did not start: {error.kind}: {error}")


def examine(settings: WorkerSettings | None = None) -> list[tuple[str, bool, str, bool]]:
    """Go through what RLBench needs, up to the first thing that is missing: (name, whether it is there, detail, whether
    it is needed).

    Ends with real launches, which take some seconds each. Plug-ins that are missing stop no launch, so they are told
    by what they should do.
    """
    settings = settings or WorkerSettings()
    variables = {**os.environ, **settings.variables}
    steps: tuple[tuple[str, Callable[[], str], bool], ...] = (
        ("interpreter", lambda: _interpreter(settings), True),
        ("CoppeliaSim", lambda: str(check_root(variables)), True),
        ("library path", lambda: _packages(settings), True),
        ("display", lambda: check_display(variables), True),
        ("launch", lambda: _draws(settings, "OPENGL", _DISPLAY), True),
        ("physics", lambda: _falls(settings), True),
        ("shadows", lambda: _draws(settings, "OPENGL3", _PLUGINS.format("libsimExtOpenGL3Renderer.so")), False),
    )
    report = []
    for name, look, needed in steps:
        try:
            report.append((name, True, look(), needed))
        except (UserError, SimulatorError) as error:
            report.append((name, False, " ".join(str(error).split()), needed))
            break
    return report


def _interpreter(settings: WorkerSettings) -> str:
    with _worker(settings, 0) as process:
        found = process.call("hello", settings.start_seconds)
    return f"{found['executable']}, Python {found['python']}"


def _packages(settings: WorkerSettings) -> str:
    with _worker(settings, 0) as process:
        found = process.call("packages", settings.launch_seconds)
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _draws(settings: WorkerSettings, render_mode: str, remedy: str) -> str:
    with _worker(settings, 1) as process:
        _launch(process, settings, ["front"], render_mode)
        process.call("reset", settings.reset_seconds, seed=0, variation=0)
        if not process.frames.any():
            raise SimulatorError(f"the front camera's frame is black; {remedy}")
    return f"{PROBE}, one frame drawn with {render_mode}"


def _falls(settings: WorkerSettings) -> str:
    with _worker(settings, 0) as process:
        _launch(process, settings, [], "OPENGL")
        process.call("reset", settings.reset_seconds, seed=0, variation=0)
        before, after = process.call("drop", settings.step_seconds)["height"]
    if after >= before or abs(after - 0.775) > RESTS_WITHIN:
        raise SimulatorError(
            f"a cube let go above the table ends {after:.2f} m high instead of 0.78; "
            + _PLUGINS.format("its physics plug-ins (libsimExtDyn*.so)")
        )
    return "a cube falls onto the table and stays there"


def _launch(process: WorkerProcess, settings: WorkerSettings, cameras: list[str], render_mode: str) -> None:
    what = {"task": PROBE, "size": SIZE, "action_mode": "delta", "shaped_rewards": False}
    process.call("launch", settings.launch_seconds, cameras=cameras, render_mode=render_mode, **what)


@contextmanager
def _worker(settings: WorkerSettings, cameras: int) -> Iterator[WorkerProcess]:
    """A worker for a moment, whose failures are explained."""
    process = WorkerProcess(settings, (cameras, SIZE, SIZE, 3))
    try:
        yield process
    except (RefusedError, SimulatorDiedError) as error:
        raise explain_launch(error, settings, FAMILY.prefix + PROBE, images=cameras > 0) from error
    finally:
        process.close(settings.close_seconds)
