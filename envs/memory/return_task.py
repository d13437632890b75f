"""What ``memory/return`` is, whatever simulator plays it: objects, sub-goals, schedule, metric, thresholds.

One to three objects are moved from random places, and then have to be put back where they were. Nothing marks the
earlier places: whoever puts an object back has to remember the frames that showed it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.envs.memory.env import MemoryEnv, nearness
from sfvgen_plan.envs.memory.parts import COLOURS, Schedule, Thing, nearest
from sfvgen_plan.envs.memory.scene import SIDE, add_side_camera
from sfvgen_plan.envs.rendering import import_mujoco
from sfvgen_plan.errors import UserError

NAME = "memory/return"
INSTRUCTION = "move the objects away, then put each of them back where it was"

SHAPES = ("cube", "puck")
MAX_OBJECTS = 3
OBJECT_SIZE, MASS = 0.05, 0.2  # width and height of every object, metres; kilogrammes
SUCCESS_DISTANCE = 0.05  # metres from its earlier place within which an object counts as put back
AWAY_DISTANCE = 0.17  # metres from an object's place to the place it is to be moved to
MOVED_DISTANCE = 0.10  # metres in the direction asked for at which an object counts as moved
SEPARATION = 0.12  # least distance in metres between any two places of a layout: room for open fingers around an object

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

    def distance(self, positions: np.ndarray, moved: np.ndarray) -> float:
        """Mean of the ``distances``, which ``info`` tells."""
        return float(self.distances(positions, moved).mean())


WORKSPACE = Workspace(
    low=(-0.28, 0.48),
    high=(0.28, 0.82),
    height=OBJECT_SIZE / 2,
    directions={
        "to the left": (0.0, -1.0),
        "to the right": (0.0, 1.0),
        "to the front": (1.0, 0.0),
        "to the back": (-1.0, 0.0),
    },
)
"""Of the Sawyer table. The directions are those of the picture."""


def draw_layout(generator: np.random.Generator, workspace: Workspace) -> ReturnLayout:
    """A random episode.

    Args:
        generator: all randomness; equally seeded ones give equal layouts.
        workspace: of the simulator.

    Raises:
        UserError: the workspace has no room for the objects.
    """
    count = int(generator.integers(1, MAX_OBJECTS + 1))
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
    return bool(inside) and nearest(places) >= SEPARATION


class MemoryReturnEnv(MemoryEnv):
    """Objects are moved away one after the other, and then have to be put back where they were.

    Object and goal in ``state`` and ``estimates`` are those of the current sub-goal. Reward: 10 exp(-d / 0.1 m), d from
    that object to its place. ``success`` means that every object was moved and is back. ``info`` also has ``distance``,
    the mean over objects of metres to the earlier places.

    Args and Raises: see ``MemoryEnv``.
    """

    name, instruction, own_camera, home = NAME, INSTRUCTION, SIDE, (0.0, 0.6, 0.2)

    @property
    def sub_goal(self) -> SubGoal:
        """What the next decision works on."""
        layout: ReturnLayout = self.layout
        return layout.sub_goals[self.sub_goal_index]

    def positions(self) -> np.ndarray:
        """(n, 3) centres of the objects, metres."""
        return np.stack([self.scene.body(f"object{i}")[0] for i in range(len(self._layout.objects))])

    def _lay_out(self, seed: int) -> ReturnLayout:
        return draw_layout(np.random.default_rng(seed), WORKSPACE)

    @staticmethod
    def _furnish(spec: Any) -> None:
        """The camera, and three boxes on free joints; an episode decides their colours and which of them are pucks."""
        add_side_camera(spec)
        for i in range(MAX_OBJECTS):
            # Without ipos and iquat MjSpec takes the centre of mass from the body's own position.
            body = spec.worldbody.add_body(
                name=f"object{i}", pos=_parked(i), mass=MASS, inertia=[MASS * OBJECT_SIZE**2 / 6] * 3, ipos=[0, 0, 0],
                iquat=[1, 0, 0, 0],
            )  # fmt: skip
            body.explicitinertial = True
            body.add_freejoint(name=f"object{i}_joint")
            body.add_geom(
                name=f"object{i}", type=import_mujoco().mjtGeom.mjGEOM_BOX, size=[OBJECT_SIZE / 2] * 3,
                friction=[1.0, 0.1, 0.002], condim=4, solref=[0.01, 1.0], solimp=[0.99, 0.99, 0.01, 0.5, 2.0],
            )  # fmt: skip

    def _place(self) -> None:
        layout: ReturnLayout = self._layout
        for i, thing in enumerate(layout.objects):
            self.scene.look(f"object{i}", COLOURS[thing.colour], "box" if thing.shape == "cube" else "cylinder")
        unused = range(len(layout.objects), MAX_OBJECTS)
        for i in unused:  # a box again, whatever the episode before made of it
            self.scene.look(f"object{i}", (0.0, 0.0, 0.0), "box")
            self.scene.model.geom(f"object{i}").rgba = 0.0
        places = {f"object{i}": place for i, place in enumerate(layout.places)}
        self.scene.reset(places | {f"object{i}": _parked(i) for i in unused})
        self.moved = np.zeros(len(layout.objects), np.bool_)

    def _object(self) -> np.ndarray:
        return np.concatenate(self.scene.body(f"object{self.sub_goal.index}"))

    def _goal(self) -> np.ndarray:
        return self.sub_goal.place

    def _judge(self) -> tuple[float, bool]:
        positions, goal = self.positions(), self.sub_goal
        self.moved = self._layout.moved(positions, self.moved)
        return nearness(positions[goal.index], goal.place), self._layout.success(positions, self.moved)

    def _info(self, success: bool) -> dict[str, Any]:
        return super()._info(success) | {"distance": self._layout.distance(self.positions(), self.moved)}


def _parked(index: int) -> np.ndarray:
    """Where objects wait that an episode has no use for: a corner of the table, out of the hand's reach."""
    return np.array([0.6, 0.9 - 0.1 * index, WORKSPACE.height])
