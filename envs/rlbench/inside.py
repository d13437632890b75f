"""What is ours inside RLBench: the action mode, and a task that is made at run time on the bare table.

Runs in RLBench's interpreter, loaded by ``worker.py`` once RLBench can be imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pyrep.const import PrimitiveShape
from pyrep.objects.dummy import Dummy
from pyrep.objects.shape import Shape
from rlbench.action_modes.arm_action_modes import ArmActionMode
from rlbench.action_modes.gripper_action_modes import Discrete
from rlbench.backend.task import Task


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
