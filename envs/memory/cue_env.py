"""``memory/cue`` on the Sawyer table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sfvgen_plan.data.seeds import FIRST_TRAINING_SEED
from sfvgen_plan.envs.memory import cue_task
from sfvgen_plan.envs.memory.base import MemoryEnv
from sfvgen_plan.envs.memory.cue_task import CueLayout, draw_layout
from sfvgen_plan.envs.memory.return_env import CAMERA, add_side_camera
from sfvgen_plan.envs.memory.return_task import COLOURS
from sfvgen_plan.envs.memory.scene import SawyerScene
from sfvgen_plan.envs.rendering import import_mujoco

HOME = (-0.05, 0.52, 0.2)
FAR_CORNER = (-0.4, 0.8, 0.2)
ABOVE = 0.14
"""Height at which the hand is to be above a block, metres."""

LAMP = (0.14, 0.82, 0.07)
LAMP_RADIUS = 0.07
_BLOCK = 0.03
_GREY = (0.45, 0.45, 0.45)
_REWARD_SCALE = 0.1


class MemoryCueEnv(MemoryEnv):
    """A lamp shows a colour; after a way to the far corner and back the hand has to go to the block of that colour.

    Frames, actions and ``info`` are ``MetaworldEnv``'s. The goal in ``state`` and ``estimates`` is where the current
    sub-goal wants the hand; the object is the right block from the last sub-goal on, before that the lamp, so that
    nothing names the colour early. Reward: 10 exp(-d / 0.1 m), d from the hand to that goal. Truncates when the last
    sub-goal's time is up; ``success`` means that the hand is above the right block then. In every second training
    episode (odd seeds) the lamp stays lit: what its colour means is learnt there, and elsewhere to remember it.

    ``info`` also has ``sub_goals`` (all texts), ``sub_goal`` (the current text), ``sub_goal_index``, ``distance``
    (metres to the side, from the hand to the right block), and ``blocks`` (their names, the right one first). See
    ``cue_task`` for schedule and thresholds.

    Args:
        camera: "side", or one of Metaworld's.
        arguments: ``size``, ``repeat``, ``max_decisions``, ``render_mode`` and ``pixels``, as of ``MetaworldEnv``.

    Raises:
        UserError: unknown camera, a number out of its range, no OpenGL library.
    """

    task = cue_task.NAME
    instruction = cue_task.INSTRUCTION

    def __init__(self, camera: str = CAMERA, **arguments: Any) -> None:
        super().__init__(SawyerScene(_furnish, HOME), camera=camera, **arguments)

    @property
    def distance(self) -> float:
        """Metres to the side, from the hand to the right block."""
        layout: CueLayout = self.layout
        return float(np.linalg.norm(self.scene.hand[:2] - layout.blocks[layout.right].place))

    def _build(self, seed: int) -> np.ndarray:
        self._stays_lit = seed >= FIRST_TRAINING_SEED and seed % 2 == 1
        return super()._build(seed)

    def _draw(self, generator: np.random.Generator) -> CueLayout:
        layout = draw_layout(generator)
        return replace(layout, lit=cue_task.DECISIONS + 1) if self._stays_lit else layout

    def _place(self) -> None:
        layout: CueLayout = self._layout
        for i, block in enumerate(layout.blocks):
            self.scene.model.geom(_body(i)).rgba = (*COLOURS[block.colour], 1.0)
            self.scene.model.body(_body(i)).pos = (*block.place, _BLOCK)
        self.scene.reset({})

    def _picture(self) -> np.ndarray:
        if self._layout is not None:
            colour = self._layout.colour if self._decisions < self._layout.lit else _GREY
            self.scene.model.geom("lamp").rgba = (*colour, 1.0)
        return super()._picture()

    def _object(self) -> np.ndarray:
        asked = self.sub_goal_index == len(cue_task.SCHEDULE) - 1
        return np.concatenate(self.scene.body(_body(self._layout.right) if asked else "lamp"))

    def _goal(self) -> np.ndarray:
        layout: CueLayout = self._layout
        places = (HOME, FAR_CORNER, HOME, (*layout.blocks[layout.right].place, ABOVE))
        return np.array(places[self.sub_goal_index])

    def _judge(self) -> tuple[float, bool]:
        reward = 10.0 * np.exp(-np.linalg.norm(self.scene.hand - self._goal()) / _REWARD_SCALE)
        over = self._decisions + 1 >= cue_task.DECISIONS
        return float(reward), over and self.distance <= cue_task.SUCCESS_DISTANCE

    def _facts(self) -> dict[str, Any]:
        layout: CueLayout = self._layout
        names = [block.name for block in layout.blocks]
        return {"distance": self.distance, "blocks": (names.pop(layout.right), *names)}


def _body(index: int) -> str:
    return f"block{index}"


def _furnish(spec: Any) -> None:
    """The camera, four blocks and the lamp: only there to be seen, nothing collides with them."""
    mujoco = import_mujoco()
    add_side_camera(spec)
    unseen = {"contype": 0, "conaffinity": 0}
    for i in range(len(cue_task.BLOCKS)):
        body = spec.worldbody.add_body(name=_body(i), pos=[0.0, 0.0, _BLOCK])
        body.add_geom(name=_body(i), type=mujoco.mjtGeom.mjGEOM_BOX, size=[_BLOCK] * 3, **unseen)
    lamp = spec.worldbody.add_body(name="lamp", pos=LAMP)
    lamp.add_geom(name="lamp", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[LAMP_RADIUS] * 3, **unseen)
