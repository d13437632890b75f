"""``memory/revisit`` on the Sawyer table, seen from a camera that the hand carries along."""

from __future__ import annotations

from typing import Any

import numpy as np

from sfvgen_plan.envs.memory import revisit_task
from sfvgen_plan.envs.memory.base import MemoryEnv
from sfvgen_plan.envs.memory.revisit_task import START, RevisitLayout, draw_layout
from sfvgen_plan.envs.memory.scene import METRES_PER_ACTION, SawyerScene, add_camera
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.envs.sawyer import ACTION_SIZE

CAMERA = "carried"
"""Sits before the hand on the mocap body, which follows the actions exactly; the hand trails behind, so the pictures of
its own cameras (gripperPOV) are not quite the same on the way back."""

HOME = (*START, 0.3)
SUCCESS_DISTANCE = 0.05
"""Metres from the end of the path within which the hand has come back."""

_CAMERA_OFFSET = np.array([0.0, 0.1, 0.0])
_CAMERA_TILT = np.deg2rad(40.0)
_FIELD_OF_VIEW = 60.0
_SIZES = {"box": (0.03, 0.03, 0.03), "cylinder": (0.035, 0.03, 0.03), "ball": (0.035,) * 3, "post": (0.015, 0.07, 0.07)}
_HEIGHTS = {"box": 0.03, "cylinder": 0.03, "ball": 0.035, "post": 0.07}
_GRIPPER_OPEN = -1.0
_REWARD_SCALE = 0.1


class MemoryRevisitEnv(MemoryEnv):
    """A camera leaves its place and comes back by the reversed actions, several times.

    Frames, actions and ``info`` are ``MetaworldEnv``'s; the goal in ``state`` and ``estimates`` is the next place of
    the path, the object the one nearest to the first view's centre. Reward: 10 exp(-d / 0.1 m), d from where the
    hand is being moved to, to where the path has it. Truncates at the end of the path; ``success`` means that the
    hand is back then.

    ``info`` also has ``sub_goals`` (all texts), ``sub_goal`` (the current text), ``sub_goal_index``; ``action`` (4,),
    the next of the ``path``'s (zeros after the last); ``objects``, their names. ``layout.first_visits`` and
    ``layout.revisits(away)`` tell which frames of the path show the same place.

    Args:
        camera: "carried", or one of Metaworld's.
        arguments: ``size``, ``repeat``, ``max_decisions``, ``render_mode`` and ``pixels``, as of ``MetaworldEnv``.

    Raises:
        UserError: unknown camera, a number out of its range, no OpenGL library.
    """

    task = revisit_task.NAME
    instruction = revisit_task.INSTRUCTION

    def __init__(self, camera: str = CAMERA, **arguments: Any) -> None:
        super().__init__(SawyerScene(_furnish, HOME), camera=camera, **arguments)

    @property
    def path(self) -> np.ndarray:
        """(T, 4) float32: the actions of the whole path."""
        moves: np.ndarray = self.layout.actions
        path = np.zeros((len(moves), ACTION_SIZE), np.float32)
        path[:, :2], path[:, 3] = moves, _GRIPPER_OPEN
        return path

    def _draw(self, generator: np.random.Generator) -> RevisitLayout:
        return draw_layout(generator, METRES_PER_ACTION * self.repeat)

    def _place(self) -> None:
        mujoco = import_mujoco()
        kinds = {
            "box": mujoco.mjtGeom.mjGEOM_BOX,
            "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
            "ball": mujoco.mjtGeom.mjGEOM_SPHERE,
            "post": mujoco.mjtGeom.mjGEOM_CYLINDER,
        }
        layout: RevisitLayout = self._layout
        for i, thing in enumerate(layout.objects):
            geom = self.scene.model.geom(_body(i))
            geom.type, geom.size = kinds[thing.shape], _SIZES[thing.shape]
            geom.rgba = (*revisit_task.COLOURS[thing.colour], 1.0)
            self.scene.model.body(_body(i)).pos = (*thing.place, _HEIGHTS[thing.shape])
        self.scene.reset({})

    def _object(self) -> np.ndarray:
        places = np.array([thing.place for thing in self._layout.objects])
        nearest = int(np.linalg.norm(places - np.add(HOME[:2], (0.0, 0.3)), axis=1).argmin())
        return np.concatenate(self.scene.body(_body(nearest)))

    def _goal(self) -> np.ndarray:
        return self._planned(self._decisions + 1)

    def _judge(self) -> tuple[float, bool]:
        carrier = self.scene.carrier
        reward = 10.0 * np.exp(-np.linalg.norm(carrier - self._planned(self._decisions + 1)) / _REWARD_SCALE)
        end = len(self._layout.actions)
        returned = np.linalg.norm(self.scene.hand - self._planned(end)) <= SUCCESS_DISTANCE
        return float(reward), bool(returned) and self._decisions + 1 >= end

    def _facts(self) -> dict[str, Any]:
        left = self.path[self._decisions :]
        return {
            "action": left[0] if len(left) else np.zeros(ACTION_SIZE, np.float32),
            "objects": tuple(thing.name for thing in self._layout.objects),
        }

    def _planned(self, decision: int) -> np.ndarray:
        """(3,) where the path has the carrier after ``decision`` decisions."""
        places = self._layout.places
        return np.array([*places[min(decision, len(places) - 1)], HOME[2]])


def _body(index: int) -> str:
    return f"object{index}"


def _furnish(spec: Any) -> None:
    """The camera, and objects that are only there to be seen: nothing collides with them."""
    mujoco = import_mujoco()
    for i in range(revisit_task.OBJECTS):
        body = spec.worldbody.add_body(name=_body(i), pos=[0.1 * i - 0.6, 0.8, 0.03])
        body.add_geom(name=_body(i), type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.03] * 3, contype=0, conaffinity=0)
    # The mocap body is turned by a quarter about y; the camera's pose is given in the world and turned back.
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    sine, cosine = np.sin(_CAMERA_TILT), np.cos(_CAMERA_TILT)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, sine, -cosine], [0.0, cosine, sine]])
    add_camera(spec.body("mocap"), CAMERA, quarter.T @ _CAMERA_OFFSET, quarter.T @ axes, _FIELD_OF_VIEW)
