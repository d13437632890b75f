"""What is missing when RLBench does not start, or does not do what it should, in one line with the remedy."""

import os
from collections.abc import Generator

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

ABORTED = 134  # exit code of a process that aborted, as Qt does when it finds no display

PROBE, SIZE = "reach_target", 64
RESTS_WITHIN = 0.05  # metres within which a cube of 5 cm comes to rest on the table, 0.75 m above the floor

_UNPACK = f"unpack CoppeliaSim 4.1 again, whose {{}} must lie in the folder {ROOT_VARIABLE}"
_ELSEWHERE = f"set {PYTHON_VARIABLE} to the Python of the environment that has RLBench"
_DISPLAY = "put `xvfb-run -a` in front, and install Mesa: sudo apt-get install -y xvfb libgl1-mesa-dri libglx-mesa0"


def explain_launch(
    error: RefusedError | SimulatorDiedError, settings: WorkerSettings, task: str, images: bool
) -> Exception:
    """The error to raise for a launch that failed: ``UserError`` where the user can mend it."""
    if isinstance(error, SimulatorDiedError):
        if error.exit_code == ABORTED and images:
            display = os.environ.get("DISPLAY")
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


def examine(settings: WorkerSettings | None = None) -> list[tuple[str, bool, str]]:
    """Go through what RLBench needs, up to the first thing that is missing: (name, whether it is there, detail).

    Ends with a real launch, which takes some seconds. Plug-ins that are missing stop no launch, so they are told by
    what they should do.
    """
    found = _found(settings or WorkerSettings())
    report = []
    for name in ("interpreter", "CoppeliaSim", "library path", "display", "launch", "physics", "planning"):
        try:
            report.append((name, True, next(found)))
        except (UserError, SimulatorError) as error:
            report.append((name, False, " ".join(str(error).split())))
            break
    found.close()
    return report


def _found(settings: WorkerSettings) -> Generator[str]:
    """What there is, in the order of the report; raises at what is missing."""
    process = WorkerProcess(settings, images=True)
    try:
        hello = process.call("hello", settings.start_seconds)
        yield f"{hello['executable']}, Python {hello['python']}"
        yield str(check_root())
        versions = process.call("packages", settings.launch_seconds)
        yield ", ".join(f"{name} {version}" for name, version in versions.items())
        yield check_display()
        process.call("launch", settings.launch_seconds, task=PROBE, cameras=["front"], size=SIZE)
        process.call("reset", settings.reset_seconds, seed=0, variation=0)
        if not any(process.frames):
            raise SimulatorError(f"the front camera's frame is black; {_DISPLAY}")
        yield f"{PROBE}, one frame drawn"
        before, after = process.call("drop", settings.step_seconds)["height"]
        if after >= before or abs(after - 0.775) > RESTS_WITHIN:
            raise SimulatorError(
                f"a cube let go above the table ends {after:.2f} m high instead of 0.78: "
                + _UNPACK.format("physics plug-ins (libsimExtDynamics*.so)")
            )
        yield "a cube falls onto the table and stays there"
        told = process.call("plan", settings.step_seconds)
        if not told["collides"]:
            missing = _UNPACK.format("plug-in libsimExtGeometric.so")
            raise SimulatorError(f"the arm does not notice a cube in its elbow: {missing}")
        if not told["found"]:
            raise SimulatorError(
                f"the motion planner finds no way ({told['reason']}): "
                + _UNPACK.format("plug-in libsimExtOMPL.so")
                + ", and so must simAddOnScript_PyRep.lua, which installing PyRep puts there"
            )
        yield "the motion planner finds a way, and the arm notices what stands in it"
    except (RefusedError, SimulatorDiedError) as error:
        raise explain_launch(error, settings, FAMILY.prefix + PROBE, images=True) from error
    finally:
        process.close(settings.close_seconds)
