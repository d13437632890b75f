"""What ``memory/return`` is, whatever simulator plays it: objects, sub-goals, schedule, metric, thresholds.

One to three objects are moved from random places, and then have to be put back where they were. Nothing marks the
earlier places: whoever puts an object back has to remember the frames that showed it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.envs.memory.parts import Schedule, Thing, facts_at
from sfvgen_plan.errors import UserError

NAME = "memory/return"
INSTRUCTION = "move the objects away, then put each of them back where it was"

SHAPES = ("cube", "puck")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.9, 0.05, 0.05),
    "green": (0.1, 0.75, 0.1),
    "blue": (0.1, 0.2, 0.95),
    "yellow": (0.95, 0.85, 0.05),
    "purple": (0.6, 0.1, 0.75),
}
"""RGB in [0, 1]."""

MAX_OBJECTS = 3
OBJECT_SIZE = 0.05
"""Width and height of every object, metres."""

SUCCESS_DISTANCE = 0.05
"""Metres from its earlier place within which an object counts as put back."""

AWAY_DISTANCE = 0.17
"""Metres from an object's place to the place it is to be moved to."""

MOVED_DISTANCE = 0.10
"""Metres in the direction asked for at which an object counts as moved."""

SEPARATION = 0.12
"""Least distance in metres between any two places of a layout: room for open fingers around an object."""

DECISIONS_PER_SUB_GOAL: dict[int, int] = {1: 30, 2: 30, 3: 25}
"""By number of objects: episodes of 60, 120 and 150 decisions."""

_DRAWS = 10_000


@dataclass(frozen=True)
class Workspace:
    """Where a simulator has room, and what the directions mean to who looks through its camera.

    Attributes:
        low, high: corners of the area that holds all places, x and y in metres.
        height: z of the centre of an object at rest, metres.
        directions: words to unit vectors (x, y).
    """

    low: tuple[float, float]
    high: tuple[float, float]
    height: float
    directions: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class SubGoal:
    """A language action about one object.

    Attributes:
        text: what to do, for example "move the red cube to the left".
        index: of the object.
        back: whether the object is to be put back; otherwise it is to be moved away.
        place: (3,) where its centre should end up, metres. Of a move any place ``MOVED_DISTANCE`` in the direction
            will do; this is the one the layout keeps free.
        direction: (2,) unit vector of a move, zeros for putting back.
    """

    text: str
    index: int
    back: bool
    place: np.ndarray
    direction: np.ndarray


@dataclass(frozen=True, eq=False)
class ReturnLayout:
    """One episode: what lies where, and what is asked for, in order.

    Attributes:
        objects: one to three, of different colours.
        places: (n, 3) where they lie first and have to be put back to, metres.
        sub_goals: every object is moved once, then every object is put back, in another order.
    """

    objects: tuple[Thing, ...]
    places: np.ndarray
    sub_goals: tuple[SubGoal, ...]

    @property
    def schedule(self) -> Schedule:
        """Texts of the sub-goals, all with as many decisions."""
        return tuple((goal.text, DECISIONS_PER_SUB_GOAL[len(self.objects)]) for goal in self.sub_goals)

    @property
    def decisions(self) -> int:
        """Length of the episode."""
        return sum(decisions for _, decisions in self.schedule)

    def moved(self, positions: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Which objects have been moved as asked: those of ``before`` (n,) bool and those that now are. (n,) bool."""
        now = before.copy()
        for goal in self.sub_goals:
            if not goal.back:
                shift = (positions[goal.index] - self.places[goal.index])[:2]
                now[goal.index] |= bool(shift @ goal.direction >= MOVED_DISTANCE)
        return now

    def distances(self, positions: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Metres from each object to its earlier place, (n,).

        An object that was never moved as asked is not back, it stayed: it counts with at least ``AWAY_DISTANCE``.
        """
        away = np.linalg.norm(positions - self.places, axis=1)
        return np.where(moved, away, np.maximum(away, AWAY_DISTANCE))

    def success(self, positions: np.ndarray, moved: np.ndarray) -> bool:
        """Whether all objects were moved and are back within ``SUCCESS_DISTANCE``."""
        return bool((self.distances(positions, moved) <= SUCCESS_DISTANCE).all())

    def facts(self, positions: np.ndarray, moved: np.ndarray, decisions: int) -> dict[str, Any]:
        """What ``info`` says after so many decisions: see ``MemoryReturnEnv``."""
        distances, missing = self.distances(positions, moved), MAX_OBJECTS - len(self.objects)

        def padded(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])

        return {
            **facts_at(self.schedule, decisions),
            "objects": len(self.objects),
            "distance": float(distances.mean()),
            "distances": padded(distances),
            "moved": padded(moved),
            "positions": padded(positions),
            "places": padded(self.places),
        }


def check_objects(objects: int | None) -> None:
    """Refuse a number of objects other than 1 to ``MAX_OBJECTS``, or None.

    Raises:
        UserError: names the number.
    """
    if objects is not None and not 1 <= objects <= MAX_OBJECTS:
        raise UserError(f"objects={objects} is not possible; give 1 to {MAX_OBJECTS}, or None to draw it")


def draw_layout(generator: np.random.Generator, workspace: Workspace, objects: int | None = None) -> ReturnLayout:
    """A random episode.

    Args:
        generator: all randomness; equally seeded ones give equal layouts.
        workspace: of the simulator.
        objects: how many, 1 to 3; None draws that too.

    Raises:
        UserError: not 1 to 3 objects, or the workspace has no room for them.
    """
    check_objects(objects)
    count = int(generator.integers(1, MAX_OBJECTS + 1)) if objects is None else objects
    colours = generator.permutation(list(COLOURS))[:count]
    things = tuple(Thing(str(generator.choice(SHAPES)), str(colour)) for colour in colours)
    words = list(workspace.directions)
    for _ in range(_DRAWS):
        chosen = [words[i] for i in generator.integers(len(words), size=count)]
        directions = np.array([workspace.directions[word] for word in chosen])
        starts = generator.uniform(workspace.low, workspace.high, (count, 2))
        ends = starts + AWAY_DISTANCE * directions
        if _fits(np.concatenate([starts, ends]), workspace):
            break
    else:
        raise UserError(
            f"workspace={workspace.low} to {workspace.high} has no room for {count} objects; give a larger one"
        )
    places, targets = (np.column_stack([xy, np.full(count, workspace.height)]) for xy in (starts, ends))
    moves = [
        SubGoal(f"move the {thing.name} {chosen[i]}", i, False, targets[i], directions[i])
        for i, thing in enumerate(things)
    ]
    returns = [
        SubGoal(f"put the {things[i].name} back where it was", i, True, places[i], np.zeros(2))
        for i in map(int, generator.permutation(count))
    ]
    return ReturnLayout(things, places, (*moves, *returns))


def _fits(places: np.ndarray, workspace: Workspace) -> bool:
    inside = (places >= workspace.low).all() and (places <= workspace.high).all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
    return bool(inside and gaps.min() >= SEPARATION)
