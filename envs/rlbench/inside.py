"""What is ours inside RLBench: the simulation that ``worker.py`` serves, the action mode, and a task that is made at
run time on the bare table.

Runs in RLBench's interpreter, loaded by ``worker.py`` once RLBench can be imported.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import scipy  # noqa: F401 - whose version is told
from pyrep.const import PrimitiveShape, RenderMode
from pyrep.objects.dummy import Dummy
from pyrep.objects.shape import Shape
from rlbench.action_modes.action_mode import MoveArmThenGripper
from rlbench.action_modes.arm_action_modes import ArmActionMode
from rlbench.action_modes.gripper_action_modes import Discrete
from rlbench.backend.task import Task
from rlbench.environment import Environment
from rlbench.observation_config import CameraConfig, ObservationConfig
from rlbench.utils import InvalidTaskName, name_to_task_class

CAMERAS = ("left_shoulder", "right_shoulder", "overhead", "wrist", "front")
WARMED_UP = ("open_drawer", "close_laptop_lid")
"""Tasks whose first reset gives another scene than the same seed does later."""
FALLING_STEPS = 40


class Simulation:
    """The simulator, started by ``launch``; one per process, which is all that CoppeliaSim allows.

    Args:
        control: the module ``control.py``.

    Attributes:
        frames: bytes of the newest pictures of the cameras.
    """

    frames = b""

    def __init__(self, control: Any) -> None:
        self._control = control
        self._environment: Any = None
        self._task: Any = None
        self._cameras: list[str] = []
        self._made: Any = None

    def packages(self) -> dict[str, Any]:
        """Versions of what a launch needs."""
        names = ("numpy", "scipy", "pyrep", "rlbench")
        return {name: str(getattr(sys.modules[name], "__version__", "unknown")) for name in names}

    def launch(self, task: str, cameras: list[str], size: int) -> dict[str, Any]:
        """Start the simulator with one task, "return" or one of RLBench's; frames of ``cameras`` are made, in this
        order."""
        self._cameras = cameras
        try:
            self._made = MadeOnTheTable if task == "return" else None
            task_class = self._made or name_to_task_class(task)
        except InvalidTaskName as error:
            error.kind = "unknown_task"
            raise
        mode = MoveArmThenGripper(SmallStep(self._control), FirmGrip(self._control))
        self._environment = Environment(mode, obs_config=_observation_config(cameras, size), headless=True)
        self._environment.launch()
        self._task = self._environment.get_task(task_class)
        if task in WARMED_UP:
            self._task.reset()
        return {"variation_count": int(self._task.variation_count())}

    def reset(self, seed: int, variation: int, things: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Build scene ``seed`` of a variation, the same every time; ``things``: see ``MadeOnTheTable``."""
        if self._made is not None:
            self._made.things = things or []
        self._rewind(seed, variation)
        descriptions, observation = self._task.reset()
        return {"descriptions": list(descriptions), **self._seen(observation)}

    def _rewind(self, seed: int, variation: int) -> None:
        """Before a reset: forget what was simulated, and seed NumPy's global generator, from which RLBench draws."""
        if self._made is not None:
            self._task._task.cleanup_()  # Its shapes were made while the simulation ran, and would end with it.
        self._environment._pyrep.stop()
        self._environment._pyrep.start()
        self._task.set_variation(variation)
        np.random.seed(seed)

    def step(self, action: list[float]) -> dict[str, Any]:
        """One action: displacement (3,), quaternion xyzw (4,), gripper (above 0.5 opens)."""
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

    def close(self) -> None:
        """Shut the simulator down."""
        if self._environment is not None:
            self._environment.shutdown()

    def _seen(self, observation: Any) -> dict[str, Any]:
        """The observation's numbers, plain; its frames are kept."""
        self.frames = b"".join(getattr(observation, camera + "_rgb").tobytes() for camera in self._cameras)
        low_dim = observation.task_low_dim_state
        return {
            "pose": [float(value) for value in observation.gripper_pose],
            "open": float(observation.gripper_open),
            "joints": [float(value) for value in observation.joint_positions],
            "low_dim": [] if low_dim is None else [float(value) for value in low_dim],
        }


def _observation_config(cameras: list[str], size: int) -> Any:
    """Only what is used: everything is on by default, and a hundred times slower."""
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


class SmallStep(ArmActionMode):
    """Displacement (3,) and turn (quaternion xyzw) of the measured tip, by ``control``, which is ``control.py``."""

    def __init__(self, control: Any) -> None:
        self._control = control
        self._chain: Any = None

    def action(self, scene: Any, action: Any) -> None:
        if self._chain is None:
            self._chain = self._control.SerialChain.of_arm(scene.robot.arm)
        self._control.move_tip(scene, self._chain, action[:3], action[3:7])

    def action_shape(self, scene: Any) -> tuple[int]:
        return (7,)


class FirmGrip(Discrete):
    """Above 0.5 opens; closed fingers keep closing."""

    def __init__(self, control: Any) -> None:
        super().__init__()
        self._control = control

    def action(self, scene: Any, action: Any) -> None:
        super().action(scene, action)
        if action[0] <= 0.5:
            self._control.keep_closing(scene.robot.gripper)


class MadeOnTheTable(Task):
    """A task without a scene file, where each reset creates the shapes in ``things``.

    A thing is {"shape": "CUBOID" or "CYLINDER", "size": [x, y, z] in metres, "mass": kilogrammes, "color": [r, g, b] in
    [0, 1], "position": of its centre}. The task state is their poses, seven numbers each. Who asked for them judges
    what became of them: for the simulator the task is never solved.
    """

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
        shape = Shape.create(PrimitiveShape[thing["shape"]], **{k: v for k, v in thing.items() if k != "shape"})
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
