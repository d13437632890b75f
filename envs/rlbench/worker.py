"""Runs RLBench in a process of its own and serves one environment of ``sfvgen_plan``.

This file, ``control.py`` and ``inside.py`` beside it are all that runs in RLBench's interpreter (Python 3.8 or newer).
They import numpy, scipy, PyRep and RLBench, and nothing else of this project: its dependencies need not fit RLBench's.

``python worker.py PIPE FRAMES LIFELINE`` takes three inherited file descriptors: a ``multiprocessing`` connection for
messages, a file to map for camera frames, and the reading end of a pipe that closes when the owner is gone, however it
went.

A message is JSON. Requests are {"call": name, ...}; each is answered by {"value": {...}} or
{"error": {"kind", "message"}}. Frames (V, size, size, 3) uint8 are in the shared file when the answer is sent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import mmap
import os
import platform
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
MADE_TASK = "return"
"""A task that is no file of RLBench's: what lies on the table is told with every reset."""
WARMED_UP = ("open_drawer", "close_laptop_lid")
"""Tasks whose first reset gives another scene than the same seed does later."""
FALLING_STEPS = 40


class Refusal(Exception):
    """A request that can't be met; ``kind`` tells the other side what to advise."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Simulation:
    """The simulator, started by ``launch``; one per process, which is all that CoppeliaSim allows.

    Args:
        frames: memory to leave camera frames in.
    """

    def __init__(self, frames: mmap.mmap) -> None:
        self._memory = frames
        self._environment: Any = None
        self._task: Any = None
        self._views: Any = None
        self._cameras: list[str] = []
        self._made: Any = None

    def hello(self) -> dict[str, Any]:
        """Who answers, before anything heavy is imported."""
        return {"python": platform.python_version(), "executable": sys.executable}

    def packages(self) -> dict[str, Any]:
        """Import what a launch needs and tell the versions."""
        import scipy  # noqa: F401

        _import_simulator()
        names = ("numpy", "scipy", "pyrep", "rlbench")
        return {name: str(getattr(sys.modules[name], "__version__", "unknown")) for name in names}

    def launch(self, task: str, cameras: list[str], size: int) -> dict[str, Any]:
        """Start the simulator with one task; frames of ``cameras`` are made, in this order."""
        import numpy as np

        _import_simulator()
        from rlbench.action_modes.action_mode import MoveArmThenGripper
        from rlbench.environment import Environment
        from rlbench.utils import InvalidTaskName, name_to_task_class

        self._cameras = cameras
        self._views = np.frombuffer(self._memory, np.uint8)[: len(cameras) * size * size * 3]
        self._views = self._views.reshape(len(cameras), size, size, 3)
        control, inside = _load("control"), _load("inside")
        try:
            self._made = inside.MadeOnTheTable if task == MADE_TASK else None
            task_class = self._made or name_to_task_class(task)
        except InvalidTaskName as error:
            raise Refusal("unknown_task", str(error)) from error
        mode = MoveArmThenGripper(inside.SmallStep(control), inside.FirmGrip(control))
        self._environment = Environment(mode, obs_config=_observation_config(cameras, size), headless=True)
        self._environment.launch()
        self._task = self._environment.get_task(task_class)
        if task in WARMED_UP:
            self._task.reset()
        return {"variation_count": int(self._task.variation_count())}

    def reset(self, seed: int, variation: int, things: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Build scene ``seed`` of a variation, the same every time.

        ``things`` are what lies on the table of ``MADE_TASK``, see ``inside.py``.
        """
        if self._made is not None:
            self._made.things = things or []
        self._rewind(seed, variation)
        descriptions, observation = self._task.reset()
        return {"descriptions": list(descriptions), **self._seen(observation)}

    def _rewind(self, seed: int, variation: int) -> None:
        """Before a reset: forget what was simulated, and seed NumPy's global generator, from which RLBench draws."""
        import numpy as np

        if self._made is not None:
            self._task._task.cleanup_()  # Its shapes were made while the simulation ran, and would end with it.
        self._environment._pyrep.stop()
        self._environment._pyrep.start()
        self._task.set_variation(variation)
        np.random.seed(seed)

    def step(self, action: list[float]) -> dict[str, Any]:
        """One action: displacement (3,), quaternion xyzw (4,), gripper (above 0.5 opens)."""
        import numpy as np

        observation, reward, terminate = self._task.step(np.array(action, float))
        seen = self._seen(observation)
        return {"reward": float(reward), "success": reward > 0.5, "terminate": bool(terminate), **seen}

    def demonstrate(self, seed: int, variation: int) -> dict[str, Any]:
        """RLBench's own motion-planned solution of scene ``seed``, one row per 0.05 s, or none; ends with the scene
        reset."""
        self._rewind(seed, variation)
        try:
            # One attempt: a second would draw another scene.
            (demo,) = self._task.get_demos(1, live_demos=True, max_attempts=1)
        except RuntimeError:
            demo = ()  # no solution
        poses = [list(map(float, observation.gripper_pose)) for observation in demo]
        opened = [float(observation.gripper_open) for observation in demo]
        return {"demo_poses": poses, "demo_open": opened, **self.reset(seed, variation)}

    def drop(self) -> dict[str, Any]:
        """Let a cube fall onto the table: ``height`` of its centre before and after, in metres."""
        from pyrep.const import PrimitiveShape
        from pyrep.objects.shape import Shape

        cube = Shape.create(PrimitiveShape.CUBOID, size=[0.05] * 3, mass=0.2, position=[0.3, 0.3, 1.0])
        before = float(cube.get_position()[2])
        for _ in range(FALLING_STEPS):
            self._environment._pyrep.step()
        after = float(cube.get_position()[2])
        cube.remove()
        return {"height": [before, after]}

    def plan(self) -> dict[str, Any]:
        """Whether the arm's collision with a cube in its elbow is noticed, and whether the motion planner finds a way
        to a place nearby."""
        from pyrep.const import PrimitiveShape
        from pyrep.objects.shape import Shape

        arm = self._environment._scene.robot.arm
        elbow, tip = (list(map(float, part.get_matrix()[:3, 3])) for part in (arm.joints[3], arm.get_tip()))
        cube = Shape.create(PrimitiveShape.CUBOID, size=[0.05] * 3, position=elbow, static=True, respondable=False)
        collides = bool(arm.check_arm_collision(cube))
        cube.remove()
        nearby, quaternion = [tip[0], tip[1] - 0.1, tip[2] - 0.2], list(arm.get_tip().get_pose()[3:])
        try:
            arm.get_nonlinear_path(nearby, quaternion=quaternion, max_configs=1, trials_per_goal=1)
        except Exception as error:  # Without its parts, PyRep only says that a call has failed.
            return {"collides": collides, "found": False, "reason": str(error)}
        return {"collides": collides, "found": True, "reason": ""}

    def close(self) -> dict[str, Any]:
        """Shut the simulator down; the process ends after the answer."""
        if self._environment is not None:
            self._environment.shutdown()
        return {}

    def _seen(self, observation: Any) -> dict[str, Any]:
        """The observation's numbers, plain; its frames go into the shared memory."""
        for place, camera in enumerate(self._cameras):
            self._views[place] = getattr(observation, camera + "_rgb")
        low_dim = observation.task_low_dim_state
        return {
            "pose": [float(value) for value in observation.gripper_pose],
            "open": float(observation.gripper_open),
            "joints": [float(value) for value in observation.joint_positions],
            "low_dim": [] if low_dim is None else [float(value) for value in low_dim],
        }


def _import_simulator() -> None:
    """Import PyRep and RLBench, telling apart what can be missing."""
    try:
        import pyrep  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "pyrep":
            raise  # One of its own dependencies is missing.
        raise Refusal("no_pyrep", str(error)) from error
    except ImportError as error:
        raise Refusal("no_library", str(error)) from error
    except Exception as error:
        if type(error).__name__ == "PyRepError":
            raise Refusal("no_root", str(error)) from error
        raise
    try:
        import rlbench  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "rlbench":
            raise
        raise Refusal("no_rlbench", str(error)) from error


def _observation_config(cameras: list[str], size: int) -> Any:
    """Only what is used: everything is on by default, and a hundred times slower."""
    from pyrep.const import RenderMode
    from rlbench.observation_config import CameraConfig, ObservationConfig

    configs = {}
    for camera in CAMERAS:
        config = CameraConfig(image_size=(size, size), render_mode=RenderMode.OPENGL)
        config.set_all(False)
        config.rgb = camera in cameras
        configs[camera + "_camera"] = config
    observations = ObservationConfig(**configs)
    observations.set_all_low_dim(False)
    observations.joint_positions = observations.gripper_pose = observations.gripper_open = True
    observations.task_low_dim_state = True
    return observations


def _load(name: str) -> Any:
    """A file beside this one by its path: this folder is not on the module path, where it might hide other modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("sfvgen_rlbench_" + name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(connection: Connection, simulation: Simulation) -> None:
    """Answer requests until "close" or the end of the connection."""
    calls = ("hello", "packages", "launch", "reset", "step", "demonstrate", "drop", "plan", "close")
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        name = request.pop("call", "")
        try:
            if name not in calls:
                raise Refusal("unknown_call", f"{name!r} is not one of {', '.join(calls)}")
            answer = {"value": getattr(simulation, name)(**request)}
        except Refusal as error:
            answer = _error(error.kind, error)
        except Exception as error:  # Whatever the simulator raises is told; the other side decides what it means.
            answer = _error(type(error).__name__, error)
        try:
            connection.send_bytes(json.dumps(answer).encode())
        except OSError:
            return
        if name == "close":
            return


def _error(kind: str, error: Exception) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": str(error)}}


def _end_with_owner(lifeline: int) -> None:
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
    messages, frames, lifeline = map(int, arguments)
    _end_with_owner(lifeline)
    # Where scripts lie comes first on the module path; a file here must not hide a module that RLBench imports.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    serve(Connection(messages), Simulation(mmap.mmap(frames, 0)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # CoppeliaSim's own exit handlers may hang or crash after a shutdown.


if __name__ == "__main__":
    main(sys.argv[1:])
