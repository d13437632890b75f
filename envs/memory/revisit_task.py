"""What ``memory/revisit`` is: objects in view, the path, and which frames show the same.

A camera leaves a place and comes back by the reversed actions, several times, sometimes to places seen on an earlier
way out. What lies there is drawn at random: whoever predicts the frames of the way back has to remember.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sfvgen_plan.envs.memory import parts
from sfvgen_plan.envs.memory.env import MemoryEnv, nearness
from sfvgen_plan.envs.memory.parts import Schedule, Thing
from sfvgen_plan.envs.memory.scene import METRES_PER_ACTION, add_camera, add_shape
from sfvgen_plan.envs.sawyer import ACTION_SIZE
from sfvgen_plan.errors import UserError

NAME = "memory/revisit"
INSTRUCTION = "look around and come back the same way"

SHAPES: dict[str, tuple[str, tuple[float, float, float], float]] = {
    "box": ("box", (0.03, 0.03, 0.03), 0.03),
    "cylinder": ("cylinder", (0.035, 0.03, 0.03), 0.03),
    "ball": ("sphere", (0.035, 0.035, 0.035), 0.035),
    "post": ("cylinder", (0.015, 0.07, 0.07), 0.07),
}
"""MuJoCo's primitive, its size, and the height of its centre, metres."""
COLOURS: dict[str, tuple[float, float, float]] = {**parts.COLOURS, "white": (0.95, 0.95, 0.95)}  # RGB in [0, 1]

CAMERA = "carried"
"""Sits before the hand on the mocap body, which follows the actions exactly; the hand trails behind, so the pictures of
its own cameras (gripperPOV) are not quite the same on the way back."""
_CAMERA_OFFSET, _CAMERA_TILT = np.array([0.0, 0.1, 0.0]), np.deg2rad(40.0)

OBJECTS = 12  # in every scene; no two are of the same shape and colour
EXCURSIONS = (2, 5)  # fewest and most ways out and back of an episode
WAY_OUT = (10, 20)  # fewest and most decisions of a way out: episodes have 40 to 200 decisions

FARTHEST_AT_LEAST = 0.4
"""Metres between the start and the turning point: what lay before the camera has left the picture."""

RETAKE = 0.4  # chance that a way out is one that was taken before

DIRECTIONS: dict[str, tuple[float, float]] = {
    "to the right": (1.0, 0.0),
    "to the left": (-1.0, 0.0),
    "forwards": (0.0, 1.0),
    "backwards": (0.0, -1.0),
}
"""Words to unit vectors (x, y): to the right and forwards in the picture of the carried camera."""

COME_BACK = "come back the same way"
"""The sub-goal of every way back; those of a way out are its legs, such as "look to the left"."""

START = (0.0, 0.5)  # where the camera's carrier is at reset, x and y in metres

HOME = (*START, 0.3)
SUCCESS_DISTANCE = 0.05  # metres from the end of the path within which the hand has come back
LOW, HIGH = np.array([-0.48, 0.42]), np.array([0.48, 0.62])  # corners of the area that it stays in
_LEGS = 2  # of a way out

_OBJECTS_LOW, _OBJECTS_HIGH = np.array([-0.68, 0.66]), np.array([0.68, 0.98])
_CELLS = (8, 2)  # columns and rows of the grid in that area, which keeps objects apart

_SAME_PLACE = 1e-6
_DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class RevisitLayout:
    """One episode.

    Attributes:
        objects: what lies where.
        actions: (T, 2) float32 in [-1, 1], the carrier's x and y, one row per decision.
        places: (T + 1, 2) of the carrier at every frame if the actions are followed, metres.
    """

    objects: tuple[Thing, ...]
    actions: np.ndarray
    places: np.ndarray

    @cached_property
    def schedule(self) -> Schedule:
        """Language actions in their order, each with its number of decisions."""
        turns = np.flatnonzero(np.diff(self.actions, axis=0).any(1)) + 1  # no leg goes on like the one before
        legs = [(leg[0], len(leg)) for leg in np.split(self.actions, turns)]
        texts: list[tuple[str, int]] = []
        for first in range(0, len(legs), 2 * _LEGS):
            out, back = legs[first : first + _LEGS], legs[first + _LEGS : first + 2 * _LEGS]
            texts += [(f"look {_words(move)}", decisions) for move, decisions in out]
            texts.append((COME_BACK, sum(decisions for _, decisions in back)))
        return tuple(texts)

    @cached_property
    def first_visits(self) -> np.ndarray:
        """(T + 1,) int64: for every frame the earliest frame that shows the same place; -1 where it is new."""
        gaps = np.abs(self.places[:, None] - self.places[None]).max(-1)
        earliest = (gaps < _SAME_PLACE).argmax(1)
        return np.where(earliest < np.arange(len(earliest)), earliest, -1)

    def revisits(self, away: int = 0) -> np.ndarray:
        """(K, 2) int64: pairs of first visit and revisit at least ``away`` frames apart, in the order of revisits.

        Around a turning point the revisit follows the first visit at once; give a model's context window as ``away``
        to keep those pairs only that it needs a memory for.
        """
        first = self.first_visits
        again = np.flatnonzero(first >= 0)
        pairs = np.column_stack([first[again], again])
        return pairs[pairs[:, 1] - pairs[:, 0] >= away]


def layout_of(seed: int, repeat: int) -> RevisitLayout:
    """The episode that an environment of ``repeat`` raw steps per decision plays when it is reset with ``seed``."""
    return draw_layout(np.random.default_rng(seed), METRES_PER_ACTION * repeat)


def draw_layout(generator: np.random.Generator, step: float) -> RevisitLayout:
    """A random episode.

    Args:
        generator: all randomness; equally seeded ones give equal layouts.
        step: metres per decision at action 1.

    Raises:
        UserError: ``step`` is too short for a way out.
    """
    count = int(generator.integers(EXCURSIONS[0], EXCURSIONS[1] + 1))
    objects = _draw_objects(generator)
    ways: list[np.ndarray] = []
    for _ in range(count):
        retaken = bool(ways) and generator.random() < RETAKE
        ways.append(ways[int(generator.integers(len(ways)))] if retaken else _draw_way(generator, step))
    actions = np.concatenate([part for way in ways for part in (way, -way[::-1])])
    shifts = np.cumsum(step * actions.astype(np.float64), axis=0)
    places = np.asarray(START) + np.concatenate([np.zeros((1, 2)), shifts])
    return RevisitLayout(objects, actions, places)


def _words(move: np.ndarray) -> str:
    """The direction that is nearest to a move (2,)."""
    return max(DIRECTIONS, key=lambda words: float(move @ np.array(DIRECTIONS[words])))


def _draw_objects(generator: np.random.Generator) -> tuple[Thing, ...]:
    columns, rows = _CELLS
    cell = (_OBJECTS_HIGH - _OBJECTS_LOW) / _CELLS
    kinds = generator.permutation([(shape, colour) for shape in SHAPES for colour in COLOURS])[:OBJECTS]
    cells = generator.permutation(columns * rows)[:OBJECTS]
    seen = []
    for (shape, colour), number in zip(kinds, cells, strict=True):
        x, y = _OBJECTS_LOW + cell * (np.array([number % columns, number // columns]) + generator.uniform(0.3, 0.7, 2))
        seen.append(Thing(str(shape), str(colour), (float(x), float(y))))
    return tuple(seen)


def _draw_way(generator: np.random.Generator, step: float) -> np.ndarray:
    """A way out in two straight legs: actions (n, 2) float32."""
    start = np.asarray(START)
    for _ in range(_DRAWS):
        length = int(generator.integers(WAY_OUT[0], WAY_OUT[1] + 1))
        corners = [start, *generator.uniform(LOW, HIGH, (2, 2))]
        counts = (length // 2, length - length // 2)
        legs = [(corners[i + 1] - corners[i]) / (counts[i] * step) for i in range(2)]
        far_enough = np.linalg.norm(corners[2] - start) >= FARTHEST_AT_LEAST
        if far_enough and max(np.abs(leg).max() for leg in legs) <= 1.0:
            return np.concatenate([np.tile(leg, (n, 1)) for leg, n in zip(legs, counts, strict=True)]).astype(
                np.float32
            )
    raise UserError(f"step={step} is too short to leave the start; give a larger repeat")


class MemoryRevisitEnv(MemoryEnv):
    """A camera leaves its place and comes back by the reversed actions, several times.

    The goal in ``state`` and ``estimates`` is the next place of the path, the object the one nearest to the first
    view's centre. Reward: 10 exp(-d / 0.1 m), d from where the hand is being moved to, to where the path has it.
    ``success`` means that the hand is back at the end of the path. ``layout.first_visits`` and
    ``layout.revisits(away)`` tell which frames of the path show the same place.

    Args and Raises: see ``MemoryEnv``.
    """

    name, instruction, own_camera, home = NAME, INSTRUCTION, CAMERA, HOME

    @property
    def path(self) -> np.ndarray:
        """(T, 4) float32: the actions of the whole path, with an open gripper."""
        moves: np.ndarray = self.layout.actions
        path = np.zeros((len(moves), ACTION_SIZE), np.float32)
        path[:, :2], path[:, 3] = moves, -1.0
        return path

    def _lay_out(self, seed: int) -> RevisitLayout:
        return layout_of(seed, self.repeat)

    @staticmethod
    def _furnish(spec: Any) -> None:
        for i in range(OBJECTS):
            add_shape(spec, f"object{i}", "box", 0.03, [0.1 * i - 0.6, 0.8, 0.03])
        # The mocap body is turned by a quarter about y; the camera's pose is given in the world and turned back.
        quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        sine, cosine = np.sin(_CAMERA_TILT), np.cos(_CAMERA_TILT)
        axes = np.array([[1.0, 0.0, 0.0], [0.0, sine, -cosine], [0.0, cosine, sine]])
        add_camera(spec.body("mocap"), CAMERA, quarter.T @ _CAMERA_OFFSET, quarter.T @ axes, field_of_view=60.0)

    def _place(self) -> None:
        for i, thing in enumerate(self._layout.objects):
            shape, size, height = SHAPES[thing.shape]
            self.scene.look(f"object{i}", COLOURS[thing.colour], shape, size)
            self.scene.model.body(f"object{i}").pos = (*thing.place, height)
        self.scene.reset({})

    def _object(self) -> np.ndarray:
        places = np.array([thing.place for thing in self._layout.objects])
        nearest = int(np.linalg.norm(places - np.add(START, (0.0, 0.3)), axis=1).argmin())
        return np.concatenate(self.scene.body(f"object{nearest}"))

    def _goal(self) -> np.ndarray:
        return self._planned(self._decisions + 1)

    def _judge(self) -> tuple[float, bool]:
        end = len(self._layout.actions)
        returned = np.linalg.norm(self.scene.hand - self._planned(end)) <= SUCCESS_DISTANCE
        reward = nearness(self.scene.carrier, self._planned(self._decisions + 1))
        return reward, bool(returned) and self._decisions + 1 >= end

    def _planned(self, decision: int) -> np.ndarray:
        """(3,) where the path has the carrier after ``decision`` decisions."""
        places = self._layout.places
        return np.array([*places[min(decision, len(places) - 1)], HOME[2]])
