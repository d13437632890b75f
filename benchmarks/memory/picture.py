"""One picture of what a memory is worth: places as they were shown, and as they are imagined long after.

``python -m sfvgen_plan.benchmarks.memory.picture --checkpoint FOLDER --out memory.png``: above the first visit, below
the same place when the path comes back to it, imagined with the memory, imagined without, and as it truly is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from sfvgen_plan.arguments import non_negative_int, positive_int, run_script
from sfvgen_plan.console import Output
from sfvgen_plan.errors import UserError
from sfvgen_plan.io import atomic

COLUMNS = 4
SIDE = 256
"""Pixels of a frame in the picture."""


def drawn(folder: Path, seed: int, gap: int) -> np.ndarray:
    """The picture (H, W, 3) uint8 of the episode of ``seed``: places that come back after ``gap`` decisions or more.

    Raises:
        UserError: a checkpoint without memory or of other tasks; an episode in which nothing comes back so late.
    """
    from sfvgen_plan.benchmarks.memory.revisit import away_of, imagine, maker_of, true_episode
    from sfvgen_plan.model.checkpoint import load_checkpoint
    from sfvgen_plan.video import caption, enlarge

    checkpoint = load_checkpoint(folder)
    with closing(maker_of(checkpoint)()) as env:
        episode = true_episode(env, seed, away_of(checkpoint))
    late = episode.known[np.diff(episode.known).ravel() >= gap]
    if not len(late):
        raise UserError(
            f"seed={seed}: no place comes back after gap={gap} decisions; give another seed or a smaller gap"
        )
    videos = []
    for memory in (True, False):
        (dream,) = imagine(checkpoint.simulator(memory=memory), [episode])
        videos.append(np.concatenate([episode.frames[: episode.seen + 1], dream]))
    columns = []
    for first, again in late[np.linspace(0, len(late) - 1, COLUMNS).astype(int)]:
        rows = {
            f"shown at decision {first}": episode.frames[first],
            f"{again - first} later, with memory": videos[0][again],
            "without": videos[1][again],
            "true": episode.frames[again],
        }
        columns.append(np.concatenate([caption(enlarge(frame, SIDE), text) for text, frame in rows.items()]))
    return np.concatenate(columns, 1)


def run(args: argparse.Namespace) -> None:
    """Draw and write."""
    from PIL import Image

    picture = drawn(args.checkpoint, args.seed, args.gap)
    with atomic(args.out, "out") as staged:
        Image.fromarray(picture).quantize(256).save(staged, format="png", optimize=True)
    Output.of(args).note(f"picture: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    program = "python -m sfvgen_plan.benchmarks.memory.picture"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="PATH", help="trained on memory/revisit, with memory layers"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the episode (default: 0)")
    parser.add_argument("--gap", type=positive_int, default=60, help="decisions until a place comes back (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("memory.png"), help="picture to write (default: %(default)s)")
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
