"""How many episodes a minute does ``sfvgen-plan eval`` play, spread out in different ways?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

TASK = "drawer-close-v3"
EPISODES = 24

WAYS: dict[str, tuple[str, ...]] = {
    "workers_1": ("--workers", "1"),
    "workers_2": ("--workers", "2"),
    "ray_2": ("--ray", "local", "--lanes", "2"),
}
"""Ends of the rows' names -> options."""


def episodes_per_minute(
    play: Callable[[Sequence[str]], float], agent: str, episodes: int, options: Sequence[str]
) -> dict[str, float]:
    """Episodes per minute in each of ``WAYS``, start-up included; Ray only where it is installed.

    Args:
        play: runs ``sfvgen-plan`` with these arguments; returns its wall seconds.
        agent: who plays.
        episodes: how many; few of them are mostly start-up.
        options: further ones of ``eval``.
    """
    found = {}
    for name, pace in WAYS.items():
        if "--ray" in pace and find_spec("ray") is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            where = ("--out", str(Path(folder) / "run"))
            known = ("eval", "--task", TASK, "--agent", agent, "--episodes", str(episodes))
            found[name] = 60 * episodes / play([*known, *options, *pace, *where])
    return found
