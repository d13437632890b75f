"""``memory/return`` on the Sawyer table."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfvgen_plan.envs.memory import return_task
from sfvgen_plan.envs.memory.base import MemoryEnv
from sfvgen_plan.envs.memory.return_task import ReturnLayout, SubGoal, Workspace, draw_layout
from sfvgen_plan.envs.memory.scene import SawyerScene, add_camera
from sfvgen_plan.envs.rendering import import_mujoco

WORKSPACE = Workspace(
    low=(-0.28, 0.48),
    high=(0.28, 0.82),
    height=return_task.OBJECT_SIZE / 2,
    directions={
        "to the left": (0.0, -1.0),
        "to the right": (0.0, 1.0),
        "to the front": (1.0, 0.0),
        "to the back": (-1.0, 0.0),
    },
)
"""The directions are those of the picture."""

CAMERA = "side"
"""Sees the workspace and little else, both fingers beside each other: an object is 9 to 13 of 128 pixels wide, from
corner4 it is 5 to 7."""
_CAMERA_AT, _CAMERA_TOWARDS = np.array([0.79, 0.65, 0.81]), np.array([0.08, 0.65, 0.10])
_FIELD_OF_VIEW = 29.0

HOME = (0.0, 0.6, 0.2)
_MASS = 0.2
_GARAGE = (0.6, 0.9)
"""Table corner, x and y, where objects wait that an episode has no use for: out of the hand's reach."""

_REWARD_SCALE = 0.1


class MemoryReturnEnv(MemoryEnv):
    """Objects are moved away one after the other, and then have to be put back where they were.

    Frames, actions and ``info`` are ``MetaworldEnv``'s; object and goal in ``state`` and ``estimates`` are those of
    the current sub-goal. Reward: 10 exp(-d / 0.1 m), d from that object to its place. Truncates when the last
    sub-goal's time is up. ``success`` means that every object was moved and is back.

    ``info`` also has ``sub_goals`` (all texts), ``sub_goal`` (the current text), ``sub_goal_index``, ``objects`` (how
    many there are), ``distance`` (mean over objects, metres, to the earlier places), and of each object ``distances``
    (3,), ``moved`` (3,) bool, ``positions`` (3, 3) and ``places`` (3, 3), zeros where there is none. See
    ``return_task`` for schedule and thresholds.

    Args:
        objects: 1 to 3, or None: every seed draws it.
        camera: "side", or one of Metaworld's.
        arguments: ``size``, ``repeat``, ``max_decisions``, ``render_mode`` and ``pixels``, as of ``MetaworldEnv``.

    Raises:
        UserError: unknown camera, a number out of its range, no OpenGL library.
    """

    task = return_task.NAME
    instruction = return_task.INSTRUCTION

    def __init__(
        self,
        objects: int | None = None,
        camera: str = CAMERA,
        **arguments: Any,
    ) -> None:
        return_task.check_objects(objects)
        super().__init__(SawyerScene(_add_objects, HOME), camera=camera, **arguments)
        self._count = objects

    @property
    def sub_goal(self) -> SubGoal:
        """What the next decision works on."""
        layout: ReturnLayout = self.layout
        return layout.sub_goals[self.sub_goal_index]

    def positions(self) -> np.ndarray:
        """(n, 3) centres of the objects, metres."""
        return np.stack([self.scene.body(_body(i))[0] for i in range(len(self._layout.objects))])

    def _draw(self, generator: np.random.Generator) -> ReturnLayout:
        return draw_layout(generator, WORKSPACE, self._count)

    def _place(self) -> None:
        mujoco = import_mujoco()
        kinds = {"cube": mujoco.mjtGeom.mjGEOM_BOX, "puck": mujoco.mjtGeom.mjGEOM_CYLINDER}
        layout: ReturnLayout = self._layout
        for i, thing in enumerate(layout.objects):
            geom = self.scene.model.geom(_body(i))
            geom.type, geom.rgba = kinds[thing.shape], (*return_task.COLOURS[thing.colour], 1.0)
        unused = range(len(layout.objects), return_task.MAX_OBJECTS)
        for i in unused:
            self.scene.model.geom(_body(i)).rgba = 0.0
        places = {_body(i): place for i, place in enumerate(layout.places)}
        self.scene.reset(places | {_body(i): _parked(i) for i in unused})
        self._kept = np.zeros(len(layout.objects), bool)  # which of them were moved

    def _object(self) -> np.ndarray:
        return np.concatenate(self.scene.body(_body(self.sub_goal.index)))

    def _goal(self) -> np.ndarray:
        return self.sub_goal.place

    def _judge(self) -> tuple[float, bool]:
        positions = self.positions()
        self._kept = self._layout.moved(positions, self._kept)
        goal = self.sub_goal
        reward = 10.0 * np.exp(-np.linalg.norm(positions[goal.index] - goal.place) / _REWARD_SCALE)
        return float(reward), self._layout.success(positions, self._kept)

    def _facts(self) -> dict[str, Any]:
        layout: ReturnLayout = self._layout
        return layout.facts(self.positions(), self._kept, self._decisions)


def add_side_camera(spec: Any) -> None:
    """Add the camera to a ``mujoco.MjSpec``."""
    backwards = _CAMERA_AT - _CAMERA_TOWARDS
    right = np.cross([0.0, 0.0, 1.0], backwards)
    axes = np.stack([axis / np.linalg.norm(axis) for axis in (right, np.cross(backwards, right), backwards)], axis=1)
    add_camera(spec.worldbody, CAMERA, _CAMERA_AT, axes, _FIELD_OF_VIEW)


def _body(index: int) -> str:
    return f"object{index}"


def _parked(index: int) -> np.ndarray:
    return np.array([_GARAGE[0], _GARAGE[1] - 0.1 * index, WORKSPACE.height])


def _add_objects(spec: Any) -> None:
    """The camera, and three boxes on free joints; an episode decides their colours and which of them are pucks."""
    mujoco = import_mujoco()
    add_side_camera(spec)
    half, inertia = return_task.OBJECT_SIZE / 2, _MASS * return_task.OBJECT_SIZE**2 / 6
    for i in range(return_task.MAX_OBJECTS):
        # Without ipos and iquat MjSpec takes the centre of mass from the body's own position.
        body = spec.worldbody.add_body(
            name=_body(i), pos=_parked(i), mass=_MASS, inertia=[inertia] * 3, ipos=[0, 0, 0], iquat=[1, 0, 0, 0]
        )
        body.explicitinertial = True
        body.add_freejoint(name=f"{_body(i)}_joint")
        body.add_geom(
            name=_body(i),
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[half] * 3,
            friction=[1.0, 0.1, 0.002],
            condim=4,
            solref=[0.01, 1.0],
            solimp=[0.99, 0.99, 0.01, 0.5, 2.0],
        )
