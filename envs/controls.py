"""Buttons and keys that play a task by hand: what each of them does with the action before it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvgen_plan.actions import Actions
from sfvgen_plan.envs.rendering import ROTATED_CAMERAS

OPEN = -1.0  # the gripper's effort, last number of an action; 1 closes it
STAY = "stay"

PAIRS = (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("KeyA", "KeyD"), ("KeyS", "KeyW"), ("KeyQ", "KeyE"))
"""Keys of the first numbers of an action, for less and for more; the others have buttons alone."""


@dataclass(frozen=True)
class Controls:
    """How a task is played: name -> what stands on a button; place on the keyboard -> the button that it presses; the
    keys, in words; the action (A,) in [-1, 1] before the first; and ``action(name, last)``, what a button means after
    the action ``last``."""

    buttons: dict[str, str]
    keys: dict[str, str]
    help: str
    start: np.ndarray
    action: Callable[[str, np.ndarray], np.ndarray]


def of_hand(env: Any) -> Controls:
    """A hand that goes where the picture shows, at full strength; its gripper stays as it is until it is told."""
    right, away = directions(env)
    flat = {"left": -right, "right": right, "away": away, "near": -away}
    ways = {name: np.append(way, 0.0) for name, way in flat.items()} | {"up": np.eye(3)[2], "down": -np.eye(3)[2]}

    def action(name: str, last: np.ndarray) -> np.ndarray:
        way = ways.get(name, np.zeros(3))
        # The largest number is 1, so that a diagonal takes no longer than it must.
        return np.append(way / (np.abs(way).max() or 1.0), -last[3] if name == "grip" else last[3]).astype(np.float32)

    return Controls(
        {
            "left": "← left", "away": "↑ away", "near": "↓ near", "right": "right →", "up": "⤒ up", "down": "⤓ down",
            STAY: "● stay", "grip": "gripper",
        },
        {
            "KeyW": "away", "ArrowUp": "away", "KeyS": "near", "ArrowDown": "near", "KeyA": "left",
            "ArrowLeft": "left", "KeyD": "right", "ArrowRight": "right", "KeyE": "up", "KeyQ": "down", "KeyX": STAY,
            "Space": "grip",
        },
        "`W` `A` `S` `D` or arrows move the hand, `E` `Q` up and down, `X` stays, `Space` grips",
        np.array([0.0, 0.0, 0.0, OPEN], np.float32),
        action,
    )  # fmt: skip


def of_actions(env: Any) -> Controls:
    """Any environment: a button for each of its discrete actions; or two for each number of its actions, which give it
    the least and the most there is, while the others stay as near to zero as they can be."""
    actions = Actions(env.action_space)
    if actions.discrete:
        moves = {str(n): one for n, one in enumerate(np.eye(actions.dim, dtype=np.float32))}
        keys = {f"Digit{n}": str(n) for n in range(min(10, actions.dim))}
        words, start = "`0` to `9` choose an action", moves["0"]
        labels = {name: name for name in moves}
    else:
        start = actions.inside(np.zeros(env.action_space.shape))
        moves, keys, labels = {STAY: start}, {"KeyX": STAY}, {STAY: "● stay"}
        for number in range(actions.dim):
            for place, (sign, value) in enumerate((("-", -1.0), ("+", 1.0))):
                if start[number] != value:
                    name = f"{number}{sign}"
                    moves[name], labels[name] = start.copy(), f"{number + 1} {sign}"
                    moves[name][number] = value
                    if number < len(PAIRS):
                        keys[PAIRS[number][place]] = name
        words = "arrows change the first two numbers of the action, `A` `D`, `S` `W`, `Q` `E` the next, `X` none"
    return Controls(labels, keys, words, start, lambda name, last: moves[name])


def directions(env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal unit vectors (2,), x and y: which way the hand goes to go right and away in the picture."""
    simulation = env._simulation
    camera = simulation.model.camera(env.camera).id
    axes = np.asarray(simulation.data.cam_xmat[camera]).reshape(3, 3)  # columns: right, up, backwards
    right = -axes[:2, 0] if env.camera in ROTATED_CAMERAS else axes[:2, 0]
    length = float(np.linalg.norm(right))
    # A camera that lies on its side has no horizontal right; any pair of axes will do.
    right = right / length if length > 0.1 else np.array([1.0, 0.0])
    away = np.array([-right[1], right[0]])
    # Turned with the picture, this way is away from the camera, unless it hangs upside down.
    return right, away if away @ -axes[:2, 2] >= 0 else -away
