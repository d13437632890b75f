"""Runs RLBench in a process of its own and serves one environment of ``sfvgen_plan``.

This file and ``control.py`` beside it are all that runs in RLBench's interpreter (Python 3.8 or newer). They import
numpy, scipy, PyRep and RLBench, and nothing else of this project, so its dependencies need not fit RLBench's.

``python worker.py SOCKET FRAMES LIFELINE`` takes three inherited file descriptors: a stream socket for messages, a file
to map for camera frames, and the reading end of a pipe that closes when the owner is gone, however it went.

A message is a length (4 bytes, big-endian) and that much JSON. Requests are {"call": name, ...}; each is answered by
{"value": {...}} or {"error": {"kind", "message", "details"}}. Frames (V, size, size, 3) uint8 are in the shared file
when the answer is sent. ``PROTOCOL`` changes whenever any of this does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 3
CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
MADE_TASK = "return"
"""A task that is no file of RLBench's: what lies on the table is told with every reset."""
WARMED_UP = ("open_drawer", "close_laptop_lid")
"""Tasks whose first reset gives another scene than the same seed does later."""
FALLING_STEPS = 40
_LENGTH = struct.Struct(">I")


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
        self._shaped = False
        self._refused: tuple[type[BaseException], ...] = ()
        self._made: Any = None

    def hello(self) -> dict[str, Any]:
        """Who answers, before anything heavy is imported."""
        return {"protocol": PROTOCOL, "python": platform.python_version(), "executable": sys.executable}

    def packages(self) -> dict[str, Any]:
        """Import what a launch needs and tell the versions."""
        import numpy
        import scipy

        _import_simulator()
        return {"numpy": numpy.__version__, "scipy": scipy.__version__, **_versions("pyrep", "rlbench")}

    def launch(
        self, task: str, cameras: list[str], size: int, action_mode: str, shaped_rewards: bool, render_mode: str
    ) -> dict[str, Any]:
        """Start the simulator with one task; frames of ``cameras`` are made, in this order."""
        import numpy as np

        _import_simulator()
        from pyrep.errors import ConfigurationPathError, IKError
        from rlbench.backend.exceptions import InvalidActionError
        from rlbench.environment import Environment
        from rlbench.utils import InvalidTaskName, name_to_task_class

        self._refused = (InvalidActionError, IKError, ConfigurationPathError)
        self._cameras, self._shaped = cameras, shaped_rewards
        self._views = np.frombuffer(self._memory, np.uint8)[: len(cameras) * size * size * 3]
        self._views = self._views.reshape(len(cameras), size, size, 3)
        try:
            self._made = _made_task() if task == MADE_TASK else None
            task_class = self._made or name_to_task_class(task)
        except InvalidTaskName as error:
            raise Refusal("unknown_task", str(error)) from error
        self._environment = Environment(
            _action_mode(action_mode),
            obs_config=_observation_config(cameras, size, render_mode),
            headless=True,
            shaped_rewards=shaped_rewards,
        )
        self._environment.launch()
        self._task = self._environment.get_task(task_class)
        if task in WARMED_UP:
            self._task.reset()
        return {"variation_count": int(self._task.variation_count())}

    def reset(self, seed: int, variation: int, things: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Build scene ``seed`` of a variation, the same every time.

        ``things`` are what lies on the table of ``MADE_TASK``, see ``_made_task``.
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
        """One action in RLBench's own format; ``refused`` says why it was not executed, if it was not."""
        import numpy as np

        try:
            observation, reward, terminate = self._task.step(np.array(action, float))
        except self._refused as error:
            refused = f"{type(error).__name__}: {error}"
            return {"refused": refused, **self._seen(self._task.get_observation())}
        # A shaped reward does not tell success; the simulator's own flag does.
        success = bool(self._task._task.success()[0]) if self._shaped else reward > 0.5
        return {
            "refused": "",
            "reward": float(reward),
            "success": success,
            "terminate": bool(terminate),
            **self._seen(observation),
        }

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


def _made_task() -> Any:
    """A task class without a scene file: a bare table, where each reset creates the shapes in ``things``.

    A thing is {"shape": "CUBOID" or "CYLINDER", "size": [x, y, z] in metres, "mass": kilogrammes, "color": [r, g, b] in
    [0, 1], "position": of its centre}. The task state is their poses, seven numbers each. Who asked for them judges
    what became of them: for the simulator the task is never solved.
    """
    import numpy as np
    from pyrep.const import PrimitiveShape
    from pyrep.objects.dummy import Dummy
    from pyrep.objects.shape import Shape
    from rlbench.backend.task import Task

    class MadeOnTheTable(Task):
        things: list[dict[str, Any]] = []  # noqa: RUF012 - set on the class, as RLBench makes the object
        _shapes: tuple[Any, ...] = ()

        def load(self) -> Any:
            self._base_object = Dummy.create()
            self._base_object.set_name(self.name)  # RLBench looks it up by the task's name.
            return self._base_object

        def init_task(self) -> None:
            self._shapes = ()

        def init_episode(self, index: int) -> list[str]:
            self._shapes = tuple(self._create(thing) for thing in self.things)
            self.register_graspable_objects(list(self._shapes))
            return [self.name]

        def _create(self, thing: dict[str, Any]) -> Any:
            shape = Shape.create(
                PrimitiveShape[thing["shape"]],
                size=thing["size"],
                mass=thing["mass"],
                color=thing["color"],
                position=thing["position"],
            )
            # The gripper holds what its sensor detects.
            shape.set_detectable(True)
            shape.set_collidable(True)
            shape.set_parent(self.get_base())
            return shape

        def variation_count(self) -> int:
            return 1

        def is_static_workspace(self) -> bool:
            return True

        def validate(self) -> None:
            """There are no waypoints that might be out of reach."""

        def success(self) -> tuple[bool, bool]:
            return False, False

        def get_low_dim_state(self) -> Any:
            # RLBench's own looks at objects that were there before the episode only.
            return np.array([list(map(float, shape.get_pose())) for shape in self._shapes]).ravel()

        def cleanup(self) -> None:
            for shape in self._shapes:
                if shape.still_exists():
                    shape.remove()
            self._shapes = ()

    return MadeOnTheTable


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


def _versions(*packages: str) -> dict[str, str]:
    return {name: str(getattr(sys.modules.get(name), "__version__", "unknown")) for name in packages}


def _observation_config(cameras: list[str], size: int, render_mode: str) -> Any:
    """Only what is used: everything is on by default, and a hundred times slower."""
    from pyrep.const import RenderMode
    from rlbench.observation_config import CameraConfig, ObservationConfig

    configs = {}
    for camera in CAMERAS:
        config = CameraConfig(image_size=(size, size), render_mode=getattr(RenderMode, render_mode))
        config.set_all(False)
        config.rgb = camera in cameras
        configs[camera + "_camera"] = config
    observations = ObservationConfig(**configs)
    observations.set_all_low_dim(False)
    observations.joint_positions = observations.gripper_pose = observations.gripper_open = True
    observations.task_low_dim_state = True
    return observations


def _action_mode(name: str) -> Any:
    """RLBench's action mode for one of ours; all end with the gripper, above 0.5 opens."""
    from rlbench.action_modes import arm_action_modes as arms
    from rlbench.action_modes.action_mode import MoveArmThenGripper
    from rlbench.action_modes.gripper_action_modes import Discrete

    control = _load_control()

    class SmallStep(arms.ArmActionMode):
        """Displacement (3,) and turn (quaternion xyzw) of the measured tip."""

        def __init__(self) -> None:
            self._chain: Any = None

        def action(self, scene: Any, action: Any) -> None:
            if self._chain is None:
                self._chain = control.SerialChain.of_arm(scene.robot.arm)
            control.move_tip(scene, self._chain, action[:3], action[3:7])

        def action_shape(self, scene: Any) -> tuple[int]:
            return (7,)

    class FirmGrip(Discrete):
        """Closed fingers keep closing."""

        def action(self, scene: Any, action: Any) -> None:
            super().action(scene, action)
            if action[0] <= 0.5:
                control.keep_closing(scene.robot.gripper)

    makers: dict[str, Callable[[], Any]] = {
        "delta": SmallStep,
        "delta_ik": lambda: arms.EndEffectorPoseViaIK(absolute_mode=False),
        "delta_planning": lambda: arms.EndEffectorPoseViaPlanning(absolute_mode=False),
        "pose_ik": arms.EndEffectorPoseViaIK,
        "pose_planning": arms.EndEffectorPoseViaPlanning,
        "joint_velocity": arms.JointVelocity,
    }
    return MoveArmThenGripper(makers[name](), FirmGrip() if name == "delta" else Discrete())


def _load_control() -> Any:
    """``control.py`` by its path: this folder is not on the module path, where it might hide other modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "control.py")
    spec = importlib.util.spec_from_file_location("sfvgen_rlbench_control", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def receive(connection: socket.socket) -> dict[str, Any]:
    """The next message; EOFError when the other side is gone."""
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    return json.loads(_read(connection, length))


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message."""
    content = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(content)) + content)


def _read(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise EOFError("the other side is gone")
        content += part
    return content


def serve(connection: socket.socket, simulation: Simulation) -> None:
    """Answer requests until "close" or the end of the connection."""
    calls = ("hello", "packages", "launch", "reset", "step", "demonstrate", "drop", "close")
    while True:
        try:
            request = receive(connection)
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
            send(connection, answer)
        except OSError:
            return
        if name == "close":
            return


def _error(kind: str, error: Exception) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": str(error), "details": traceback.format_exc()}}


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
    connection = socket.socket(fileno=messages)
    serve(connection, Simulation(mmap.mmap(frames, 0)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # CoppeliaSim's own exit handlers may hang or crash after a shutdown.


if __name__ == "__main__":
    main(sys.argv[1:])
