"""Names, instructions and suites of the Metaworld tasks (no simulator is imported here)."""

from __future__ import annotations

from dataclasses import dataclass

from sfvgen_plan.errors import unknown_name

PREFIX = "metaworld/"


@dataclass(frozen=True)
class MetaworldTask:
    """One task: its Metaworld name and what the text encoder is told about it."""

    name: str
    instruction: str


_INSTRUCTIONS = {
    "assembly-v3": "pick up the ring and put it over the peg",
    "basketball-v3": "dunk the basketball into the basket",
    "bin-picking-v3": "move the block from one bin to the other bin",
    "box-close-v3": "put the lid on the box",
    "button-press-topdown-v3": "press the button from the top",
    "button-press-topdown-wall-v3": "press the button behind the wall from the top",
    "button-press-v3": "press the button",
    "button-press-wall-v3": "press the button behind the wall",
    "coffee-button-v3": "push the button of the coffee machine",
    "coffee-pull-v3": "pull the mug away from the coffee machine",
    "coffee-push-v3": "push the mug under the coffee machine",
    "dial-turn-v3": "turn the dial by half a turn",
    "disassemble-v3": "lift the ring off the peg",
    "door-close-v3": "close the door",
    "door-lock-v3": "lock the door by turning the lock clockwise",
    "door-open-v3": "open the door",
    "door-unlock-v3": "unlock the door by turning the lock counter-clockwise",
    "drawer-close-v3": "push the drawer closed",
    "drawer-open-v3": "pull the drawer open",
    "faucet-close-v3": "turn the faucet clockwise",
    "faucet-open-v3": "turn the faucet counter-clockwise",
    "hammer-v3": "drive the nail into the wall with the hammer",
    "hand-insert-v3": "put the gripper into the hole",
    "handle-press-side-v3": "press the handle down from the side",
    "handle-press-v3": "press the handle down",
    "handle-pull-side-v3": "pull the handle up from the side",
    "handle-pull-v3": "pull the handle up",
    "lever-pull-v3": "pull the lever up",
    "peg-insert-side-v3": "insert the peg into the hole from the side",
    "peg-unplug-side-v3": "pull the peg out of the hole",
    "pick-out-of-hole-v3": "pick the puck out of the hole",
    "pick-place-v3": "pick up the puck and hold it at the blue goal position",
    "pick-place-wall-v3": "pick up the puck and carry it over the wall to the goal position",
    "plate-slide-back-side-v3": "slide the plate out of the cabinet sideways",
    "plate-slide-back-v3": "slide the plate back out of the cabinet",
    "plate-slide-side-v3": "slide the plate into the cabinet sideways",
    "plate-slide-v3": "slide the plate into the cabinet",
    "push-back-v3": "pull the puck back to the green goal position",
    "push-v3": "push the puck to the green goal position",
    "push-wall-v3": "push the puck around the wall to the green goal position",
    "reach-v3": "reach the red goal position",
    "reach-wall-v3": "reach the red goal position behind the wall",
    "shelf-place-v3": "pick up the puck and put it on the shelf",
    "soccer-v3": "push the ball into the goal",
    "stick-pull-v3": "hook the box with the stick and pull it",
    "stick-push-v3": "grasp the stick and push the box with it",
    "sweep-into-v3": "sweep the puck into the hole",
    "sweep-v3": "sweep the puck off the table",
    "window-close-v3": "slide the window closed",
    "window-open-v3": "slide the window open",
}

TASKS: dict[str, MetaworldTask] = {name: MetaworldTask(name, text) for name, text in _INSTRUCTIONS.items()}
"""All fifty Metaworld v3 tasks, by name."""

SUITES: dict[str, tuple[str, ...]] = {
    "metaworld-10": (
        "reach-v3",
        "push-v3",
        "drawer-open-v3",
        "door-open-v3",
        "button-press-topdown-v3",
        "window-close-v3",
        "faucet-open-v3",
        "handle-press-v3",
        "drawer-close-v3",
        "coffee-button-v3",
    ),
}
"""Task sets that are trained and scored together."""


def canonical(name: str) -> str:
    """The plain task name: both "reach-v3" and "metaworld/reach-v3" give "reach-v3".

    Raises:
        UserError: there is no such task; the message lists the nearest names.
    """
    name = str(name)  # None or a number is told of as any other unknown name
    plain = name.removeprefix(PREFIX)
    if plain not in TASKS:
        raise unknown_name("task", name, TASKS, without_prefix, f"{__name__}.TASKS")
    return plain


def without_prefix(name: str) -> str:
    """What a task is called in its own simulator, of which the part before the slash tells."""
    return name.rpartition("/")[2]
