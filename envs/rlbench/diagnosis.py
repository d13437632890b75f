"""What is missing when RLBench does not start, in one line with the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable

from sfvgen_plan.envs.rlbench.family import FAMILY, FORK_ONLY
from sfvgen_plan.envs.rlbench.process import (
    RefusedError,
    SimulatorDiedError,
    SimulatorError,
    WorkerProcess,
)
from sfvgen_plan.envs.rlbench.settings import (
    LIBRARY,
    PYTHON_VARIABLE,
    ROOT_VARIABLE,
    WorkerSettings,
    check_display,
    check_root,
)
from sfvgen_plan.errors import UserError

ABORTED = 134
"""Exit code of a process that aborted, as Qt does when it finds no display."""

_PROBE = {
    "task": "reach_target",
    "size": 64,
    "action_mode": "delta",
    "shaped_rewards": False,
    "render_mode": "OPENGL",
}


def explain_launch(
    error: RefusedError | SimulatorDiedError, settings: WorkerSettings, task: str, images: bool
) -> Exception:
    """The error to raise for a launch that failed: ``UserError`` where the user can mend it."""
    if isinstance(error, SimulatorDiedError):
        if error.exit_code == ABORTED and images:
            display = {**os.environ, **settings.variables}.get("DISPLAY")
            return UserError(
                f"DISPLAY={display!r} can't be used: RLBench aborted while it started; put `xvfb-run -a` in front"
                f" ({error})"
            )
        return SimulatorError(f"RLBench did not start: {error}")
    python = settings.interpreter
    elsewhere = f"set {PYTHON_VARIABLE} to the Python of the environment that has RLBench"
    advice = {
        "no_pyrep": f"python={python!r} has no PyRep ({error}); {elsewhere}",
        "no_rlbench": f"python={python!r} has no RLBench ({error}); {elsewhere}",
        "no_library": f"PyRep can't load {LIBRARY} ({error}); put CoppeliaSim's folder on LD_LIBRARY_PATH",
        "no_root": f"PyRep does not find CoppeliaSim ({error}); set {ROOT_VARIABLE} to its folder",
        "PyRepError": f"PyRep does not start CoppeliaSim ({error}); check {ROOT_VARIABLE}",
        "ModuleNotFoundError": f"python={python!r} lacks a module ({error}); install it there, or {elsewhere}",
        "ImportError": f"python={python!r} can't import what RLBench needs ({error}); {elsewhere}",
        "unknown_task": f"task={task!r} is not in the RLBench of {python!r}; {_where(task)}",
    }
    if error.kind in advice:
        return UserError(advice[error.kind])
    return SimulatorError(f"RLBench did not start: {error.kind}: {error}")


def _where(task: str) -> str:
    if task.removeprefix(FAMILY.prefix) in FORK_ONLY:
        return "only the fork behind the 18-task leaderboards has it, so install that one"
    return "install RLBench 1.2.0"


def examine(settings: WorkerSettings | None = None) -> list[tuple[str, bool, str]]:
    """Go through what RLBench needs, up to the first thing that is missing: (name, whether it is there, detail).

    Ends with a real launch, which takes some seconds.
    """
    settings = settings or WorkerSettings()
    variables = {**os.environ, **settings.variables}
    steps: list[tuple[str, Callable[[], str]]] = [
        ("interpreter", lambda: _interpreter(settings)),
        ("CoppeliaSim", lambda: str(check_root(variables))),
        ("library path", lambda: _packages(settings)),
        ("display", lambda: check_display(variables)),
        ("launch", lambda: _launch(settings)),
    ]
    report = []
    for name, look in steps:
        try:
            report.append((name, True, look()))
        except (UserError, SimulatorError) as error:
            report.append((name, False, " ".join(str(error).split())))
            break
    return report


def _interpreter(settings: WorkerSettings) -> str:
    process = WorkerProcess(settings, (0, 1, 1, 3))
    try:
        found = process.call("hello", settings.start_seconds)
    finally:
        process.kill()
    return f"{found['executable']}, Python {found['python']}"


def _packages(settings: WorkerSettings) -> str:
    process = WorkerProcess(settings, (0, 1, 1, 3))
    try:
        found = process.call("packages", settings.launch_seconds)
    except (RefusedError, SimulatorDiedError) as error:
        raise explain_launch(error, settings, FAMILY.prefix + "reach_target", images=False) from error
    finally:
        process.kill()
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _launch(settings: WorkerSettings) -> str:
    process = WorkerProcess(settings, (1, 64, 64, 3))
    try:
        process.call("launch", settings.launch_seconds, cameras=["front"], **_PROBE)
        process.call("reset", settings.reset_seconds, seed=0, variation=0)
        dark = not process.frames.any()
    except (RefusedError, SimulatorDiedError) as error:
        raise explain_launch(error, settings, FAMILY.prefix + "reach_target", images=True) from error
    finally:
        process.close(settings.close_seconds)
    if dark:
        raise SimulatorError("the front camera's frame is black: the display has no OpenGL; use Xvfb with Mesa and GLX")
    return "reach_target, one frame drawn"
