"""What ``memory/cue`` is: a lamp shows a colour at the beginning, and some forty decisions later the hand has to go to
the block of that colour.

The lamp is grey by then, and no sub-goal names the colour: whoever goes to the right block remembers the first frames.
Without memory one in four is right by chance.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sfvgen_plan.data.sources import FIRST_TRAINING_SEED
from sfvgen_plan.envs.memory.env import MemoryEnv, nearness
from sfvgen_plan.envs.memory.parts import COLOURS, Schedule, Thing, nearest
from sfvgen_plan.envs.memory.scene import SIDE, add_shape, add_side_camera

NAME = "memory/cue"
INSTRUCTION = "go to the far corner, come back, then go to the block of the colour that the lamp had"

BLOCKS = ("red", "green", "blue", "yellow")  # colours of the four blocks, of which the lamp has one
LIT = 6  # decisions at the beginning in which the lamp has its colour

SCHEDULE: Schedule = (
    ("look at the lamp", LIT),
    ("go to the far corner", 24),
    ("come back from the far corner", 14),
    ("go to the block of the lamp's colour", 16),
)
"""Of every episode."""

DECISIONS = sum(decisions for _, decisions in SCHEDULE)  # 60

SUCCESS_DISTANCE = 0.05
"""Metres, to the side, from the right block within which the hand has to be at the end; blocks stand ``SEPARATION``
apart, so nobody is near two of them."""

SEPARATION = 0.15
LOW, HIGH = (-0.2, 0.48), (0.22, 0.7)  # corners of the area in which blocks stand, x and y in metres

HOME = (-0.05, 0.52, 0.2)
FAR_CORNER = (-0.4, 0.8, 0.2)
ABOVE = 0.14  # height at which the hand is to be above a block, metres

LAMP, LAMP_RADIUS = (0.14, 0.82, 0.07), 0.07
_BLOCK = 0.03
_GREY = (0.45, 0.45, 0.45)


@dataclass(frozen=True)
class CueLayout:
    """One episode: four ``blocks`` where they stand, which of them has the lamp's colour, ``right``, and the
    decisions in which the lamp is ``lit``."""

    blocks: tuple[Thing, ...]
    right: int
    lit: int = LIT
    schedule: Schedule = SCHEDULE

    @property
    def colour(self) -> tuple[float, float, float]:
        """Of the lamp while it is lit, RGB in [0, 1]."""
        return COLOURS[self.blocks[self.right].colour]


def draw_layout(generator: np.random.Generator) -> CueLayout:
    """A random episode; equally seeded generators give equal ones."""
    colours = generator.permutation(list(BLOCKS)).tolist()
    while True:
        places = generator.uniform(LOW, HIGH, (len(BLOCKS), 2))
        if nearest(places) >= SEPARATION:
            break
    blocks = [Thing("block", colour, (x, y)) for colour, (x, y) in zip(colours, places.tolist(), strict=True)]
    return CueLayout(tuple(blocks), int(generator.integers(len(blocks))))


class MemoryCueEnv(MemoryEnv):
    """A lamp shows a colour; after a way to the far corner and back the hand has to go to the block of that colour.

    The goal in ``state`` and ``estimates`` is where the current sub-goal wants the hand; the object is the right block
    from the last sub-goal on, before that the lamp, so that nothing names the colour early. Reward: 10 exp(-d / 0.1 m),
    d from the hand to that goal. ``success`` means that the hand is above the right block when the last sub-goal's time
    is up. In every second training episode (odd seeds) the lamp stays lit: what its colour means is learnt there, and
    elsewhere to remember it. ``info`` also has ``distance``, metres to the side, from the hand to the right block.

    Args and Raises: see ``MemoryEnv``.
    """

    name, instruction, own_camera, home = NAME, INSTRUCTION, SIDE, HOME

    @property
    def distance(self) -> float:
        """Metres to the side, from the hand to the right block."""
        layout: CueLayout = self.layout
        return float(np.linalg.norm(self.scene.hand[:2] - layout.blocks[layout.right].place))

    def _lay_out(self, seed: int) -> CueLayout:
        layout = draw_layout(np.random.default_rng(seed))
        stays_lit = seed >= FIRST_TRAINING_SEED and seed % 2 == 1
        return replace(layout, lit=DECISIONS + 1) if stays_lit else layout

    @staticmethod
    def _furnish(spec: Any) -> None:
        add_side_camera(spec)
        for i in range(len(BLOCKS)):
            add_shape(spec, f"block{i}", "box", _BLOCK, [0.0, 0.0, _BLOCK])
        add_shape(spec, "lamp", "sphere", LAMP_RADIUS, LAMP)

    def _place(self) -> None:
        for i, block in enumerate(self._layout.blocks):
            self.scene.look(f"block{i}", COLOURS[block.colour])
            self.scene.model.body(f"block{i}").pos = (*block.place, _BLOCK)
        self.scene.reset({})

    def _draw(self) -> np.ndarray:
        if self._layout is not None:
            self.scene.look("lamp", self._layout.colour if self._decisions < self._layout.lit else _GREY)
        return super()._draw()

    def _object(self) -> np.ndarray:
        asked = self.sub_goal_index == len(SCHEDULE) - 1
        return np.concatenate(self.scene.body(f"block{self._layout.right}" if asked else "lamp"))

    def _goal(self) -> np.ndarray:
        layout: CueLayout = self._layout
        places = (HOME, FAR_CORNER, HOME, (*layout.blocks[layout.right].place, ABOVE))
        return np.array(places[self.sub_goal_index])

    def _judge(self) -> tuple[float, bool]:
        over = self._decisions + 1 >= DECISIONS
        return nearness(self.scene.hand, self._goal()), over and self.distance <= SUCCESS_DISTANCE

    def _info(self, success: bool) -> dict[str, Any]:
        return super()._info(success) | {"distance": self.distance}
