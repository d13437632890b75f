"""The Sawyer table of Metaworld with objects of our own, moved by Metaworld's rules.

The model is Metaworld's, edited in memory; nothing of Metaworld but its assets is used.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfvgen_plan.envs.metaworld.snapshots import physics_of, set_physics
from sfvgen_plan.envs.rendering import import_mujoco

PHYSICS_STEPS = 5  # of 2.5 ms, in a raw step: Metaworld's frame skip
METRES_PER_ACTION = 0.01  # the mocap body's displacement in a raw step at action 1

HAND_LOW = np.array([-0.5, 0.40, 0.05])
HAND_HIGH = np.array([0.5, 1.0, 0.5])  # where the mocap body may go, metres: Metaworld's bounds

SIDE = "side"
"""A camera that sees the workspace and little else, both fingers beside each other: an object is 9 to 13 of 128 pixels
wide, from corner4 it is 5 to 7."""
_SIDE_AT, _SIDE_TOWARDS = np.array([0.79, 0.65, 0.81]), np.array([0.08, 0.65, 0.10])

_HAND_QUATERNION = np.array([1.0, 0.0, 1.0, 0.0])
_SETTLING_STEPS = 50
_FULL_GAP = 0.1
_WELD = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0])
_BASE_MODEL = "sawyer_reach_v3.xml"

Edit = Callable[[Any], None]  # adds to a mujoco.MjSpec


class SawyerScene:
    """A Sawyer arm over a bare table, and what ``edit`` adds.

    Args:
        edit: called once with Metaworld's scene, without its objects and goal markers. Bodies that ``reset`` is to
            place have a free joint named ``<body>_joint``.
        home: (3,) where the hand stands after ``reset``, metres.
    """

    def __init__(self, edit: Edit, home: Sequence[float]) -> None:
        self._mujoco = mujoco = import_mujoco()
        spec = mujoco.MjSpec.from_file(str(_assets() / "sawyer_xyz" / _BASE_MODEL))
        spec.detach_body(spec.body("obj"))
        spec.site("goal").delete()
        for name in ("rightEndEffector", "leftEndEffector"):
            # Drawn red in Metaworld; a fingertip of that colour would pass for an object.
            spec.site(name).rgba = [1.0, 0.0, 0.0, 0.0]
        edit(spec)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.model.eq_data[self.model.eq_type == mujoco.mjtEq.mjEQ_WELD] = _WELD
        # The arm starts folded and sweeps the table on its way home, so objects are placed only afterwards.
        for _ in range(_SETTLING_STEPS):
            self._go(np.asarray(home, dtype=np.float64), grip=-1.0)
        self.data.qvel[:] = 0.0
        self._at_home = self.physics()

    def reset(self, places: Mapping[str, np.ndarray]) -> None:
        """Hand at home, gripper open, and each named free body at its place: (3,) metres, upright, at rest."""
        self.restore(self._at_home)
        for name, place in places.items():
            joint = self.data.joint(f"{name}_joint")
            joint.qpos[:] = [*place, 1.0, 0.0, 0.0, 0.0]
            joint.qvel[:] = 0.0
        self._mujoco.mj_forward(self.model, self.data)

    def advance(self, action: np.ndarray) -> None:
        """One raw step (1/80 s) of ``action`` (4,) in [-1, 1]."""
        target = self.data.mocap_pos[0] + METRES_PER_ACTION * action[:3].astype(np.float64)
        self._go(np.clip(target, HAND_LOW, HAND_HIGH), float(action[3]))
        self._mujoco.mj_forward(self.model, self.data)

    @property
    def hand(self) -> np.ndarray:
        """(3,) metres, a copy."""
        return self.data.body("hand").xpos.copy()

    @property
    def carrier(self) -> np.ndarray:
        """Where the mocap body is, which the hand trails behind: (3,) metres, a copy."""
        return self.data.mocap_pos[0].copy()

    @property
    def gripper(self) -> float:
        """Opening in [0, 1], as Metaworld measures it."""
        gap = self.data.body("rightclaw").xpos - self.data.body("leftclaw").xpos
        return float(np.clip(np.linalg.norm(gap) / _FULL_GAP, 0.0, 1.0))

    def body(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and quaternion (4,) of a body, copies."""
        body = self.data.body(name)
        return body.xpos.copy(), body.xquat.copy()

    def look(self, name: str, colour: Sequence[float], shape: str = "", size: Sequence[float] = ()) -> None:
        """Give the geom called ``name`` a colour (RGB in [0, 1]), and a shape, of MuJoCo's primitives, and a size."""
        geom = self.model.geom(name)
        geom.rgba = (*colour, 1.0)
        if shape:
            geom.type = getattr(self._mujoco.mjtGeom, f"mjGEOM_{shape.upper()}")
        if len(size):
            geom.size = size

    def physics(self) -> np.ndarray:
        """The exact moment; the layout belongs to the task."""
        return physics_of(self.model, self.data)

    def restore(self, physics: np.ndarray) -> None:
        """Back to what ``physics`` gave; what follows is the same bit for bit."""
        set_physics(self.model, self.data, physics)

    def _go(self, target: np.ndarray, grip: float) -> None:
        self.data.mocap_pos[0] = target
        self.data.mocap_quat[0] = _HAND_QUATERNION
        self.data.ctrl[:] = grip, -grip
        self._mujoco.mj_step(self.model, self.data, PHYSICS_STEPS)


def add_shape(spec: Any, name: str, shape: str, size: float, place: Sequence[float]) -> None:
    """A body of half ``size`` metres at a place (3,), only there to be seen: nothing collides with it."""
    body = spec.worldbody.add_body(name=name, pos=place)
    kind = getattr(import_mujoco().mjtGeom, f"mjGEOM_{shape.upper()}")
    body.add_geom(name=name, type=kind, size=[size] * 3, contype=0, conaffinity=0)


def add_camera(body: Any, name: str, place: np.ndarray, axes: np.ndarray, field_of_view: float) -> None:
    """A camera on a body of a ``mujoco.MjSpec``: its right, upward and backward unit vectors are columns of ``axes``
    (3, 3), all in the body's frame; the field of view is vertical, in degrees."""
    quaternion = np.empty(4)
    import_mujoco().mju_mat2Quat(quaternion, axes.ravel())
    body.add_camera(name=name, pos=place, quat=quaternion, fovy=field_of_view)


def add_side_camera(spec: Any) -> None:
    """The camera ``SIDE`` of a ``mujoco.MjSpec``."""
    backwards = _SIDE_AT - _SIDE_TOWARDS
    right = np.cross([0.0, 0.0, 1.0], backwards)
    axes = np.stack([axis / np.linalg.norm(axis) for axis in (right, np.cross(backwards, right), backwards)], axis=1)
    add_camera(spec.worldbody, SIDE, _SIDE_AT, axes, field_of_view=29.0)


def _assets() -> Path:
    """Metaworld's asset folder, found without importing Metaworld (which loads all of its environments)."""
    spec = importlib.util.find_spec("metaworld")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "metaworld is not installed; install it with: pip install metaworld", name="metaworld"
        )
    return Path(spec.submodule_search_locations[0]) / "assets"
