"""What does not survive a fork, such as an OpenGL context: a child that would hang in it is refused instead."""

import os
import sys

from sfvgen_plan.errors import UserError

_opened: set[str] = set()
_inherited: set[str] = set()

TORCH = "torch and its threads"


def _note_fork() -> None:
    _inherited.update(_opened)
    if "torch" in sys.modules:
        _inherited.add(TORCH)


os.register_at_fork(after_in_child=_note_fork)


def wake_torch(device: str) -> None:
    """Make torch safe to use in this process: in a forked child its threads are gone, and whoever waits for them waits
    for ever, so that there is one. Does nothing elsewhere. Raises UserError: a forked child on a GPU, which only a
    process that is started anew can use."""
    if TORCH not in _inherited:
        return
    if not device.startswith("cpu"):
        opening(TORCH)
    import torch

    torch.set_num_threads(1)


def opening(what: str) -> None:
    """Note that this process opens ``what``, such as "an OpenGL context", for the rest of its life. Raises UserError:
    its parent had opened one before it was forked, so that it would hang."""
    if what in _inherited:
        raise UserError(
            f"this process was forked from one that has {what}, in which it would hang; start it another way, such as "
            "gym.make_vec(..., vectorization_mode='async', vector_kwargs={'context': 'spawn'})"
        )
    _opened.add(what)
