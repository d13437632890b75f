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
"""Of every episode: 60 decisions."""

SUCCESS_DISTANCE = 0.05
"""Metres, to the side, from the right block within which the hand has to be at the end; blocks stand ``SEPARATION``
apart, so nobody is near two of them."""

SEPARATION = 0.15
_DRAWS = 10_000


@dataclass(frozen=True)
class CueLayout:
    """One episode: four ``blocks`` where they stand, and which of them has the lamp's colour, ``right``."""

    blocks: tuple[Thing, ...]
    right: int

    @property
    def colour(self) -> tuple[float, float, float]:
        """Of the lamp while it is lit, RGB in [0, 1]."""
        return COLOURS[self.blocks[self.right].colour]

    @property
    def schedule(self) -> Schedule:
        """Texts of the sub-goals with their decisions."""
        return SCHEDULE

    @property
    def decisions(self) -> int:
        """Length of the episode."""
        return sum(decisions for _, decisions in SCHEDULE)


def draw_layout(generator: np.random.Generator, low: tuple[float, float], high: tuple[float, float]) -> CueLayout:
    """A random episode with blocks between the corners ``low`` and ``high``, x and y in metres."""
    colours = generator.permutation(list(BLOCKS))
    for _ in range(_DRAWS):
        places = generator.uniform(low, high, (len(BLOCKS), 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        if gaps.min() >= SEPARATION:
            break
    else:
        raise ValueError(f"no room for {len(BLOCKS)} blocks from {low} to {high}")
    blocks = tuple(
        Thing("block", str(colour), (float(x), float(y))) for colour, (x, y) in zip(colours, places, strict=True)
    )
    return CueLayout(blocks, int(generator.integers(len(blocks))))
