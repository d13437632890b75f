"""What ``memory/cue`` is: a lamp shows a colour at the beginning, and some forty decisions later the hand has to go to
the block of that colour.

The lamp is grey by then, and no sub-goal names the colour: whoever goes to the right block remembers the first frames.
Without memory one in four is right by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfvgen_plan.envs.memory.parts import Schedule, Thing
from sfvgen_plan.envs.memory.return_task import COLOURS

NAME = "memory/cue"
INSTRUCTION = "go to the far corner, come back, then go to the block of the colour that the lamp had"

BLOCKS = ("red", "green", "blue", "yellow")
"""Colours of the four blocks, of which the lamp has one."""

LIT = 6
"""Decisions at the beginning in which the lamp has its colour."""

SCHEDULE: Schedule = (
    ("look at the lamp", LIT),
    ("go to the far corner", 24),
    ("come back from the far corner", 14),
    ("go to the block of the lamp's colour", 16),
)
"""Of every episode."""

DECISIONS = sum(decisions for _, decisions in SCHEDULE)
"""60."""

SUCCESS_DISTANCE = 0.05
"""Metres, to the side, from the right block within which the hand has to be at the end; blocks stand ``SEPARATION``
apart, so nobody is near two of them."""

SEPARATION = 0.15
LOW, HIGH = (-0.2, 0.48), (0.22, 0.7)
"""Corners of the area in which blocks stand, x and y in metres."""


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
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        if gaps.min() >= SEPARATION:
            break
    blocks = [Thing("block", colour, (x, y)) for colour, (x, y) in zip(colours, places.tolist(), strict=True)]
    return CueLayout(tuple(blocks), int(generator.integers(len(blocks))))
