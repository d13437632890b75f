"""How long do imagined episodes stay true? Open-loop rollouts from the start of held-out episodes.

``python -m sfvgen_plan.benchmarks.fidelity.open_loop --data DATASET`` imagines each episode from its first frame under
the actions that were executed in it, and compares every frame and state read-out with the truth. Rows are means over
the episodes of a task; an episode that ends early counts as far as it goes. Copying the start frame is what a model has
to beat. All episodes of a dataset of a test split are played. ``--replay`` compares with the real simulator instead, in
which the same actions are played again: how far it strays itself is the best that a model can do.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.fidelity.rollouts import (
    HEAD,
    MEASURES,
    QUALITY,
    Played,
    RealEpisodes,
    choose,
    compare,
    imagined,
    parts,
    replayed,
)
from sfvgen_plan.benchmarks.results.files import write_rows
from sfvgen_plan.console import Output, table
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes, read_metadata
from sfvgen_plan.data.minari_writer import COLLECTION_KEY
from sfvgen_plan.learning.data import HELD_OUT_EVERY

MEDIAN = "hand_median_cm"


@dataclass(frozen=True)
class OpenLoopRow:
    """Means over the ``episodes`` of a task at a decision; None where nothing of that name is read out. ``part`` says
    which episodes: all, or those in which nothing held the hand back ("clean") and the others ("contact"). PSNR is that
    of the first camera, ``further_psnr_db`` the mean of the others'; ``success_accuracy`` is 1 where the success head
    says what is true, ``solved`` where the episode is solved, ``solved_seen`` where it is and the head says so.
    ``f_g``, the decisions of a denoising pass, is 1: how many are asked for at once makes no difference."""

    task: str
    f_g: int
    decision: int
    episodes: int
    psnr_db: float
    copy_psnr_db: float
    further_psnr_db: float | None = None
    object_error_cm: float | None = None
    hand_error_cm: float | None = None
    success_accuracy: float | None = None
    solved: float | None = None
    solved_seen: float | None = None
    hand_median_cm: float | None = None
    part: str = "all"


def measure(played: Played, real: RealEpisodes) -> list[OpenLoopRow]:
    """A row for every part and decision."""
    rows, values = [], compare(played, real)
    for part, chosen in parts(real).items():
        for decision in range(real.lengths.max()):
            going_on = chosen & (real.lengths > decision)
            if not going_on.any():
                break
            known = {name: own[~np.isnan(own)] for name in MEASURES for own in [values[name][going_on, decision]]}
            told: Any = {name: round(float(own.mean()), 3) if len(own) else None for name, own in known.items()}
            hand = known["hand_error_cm"]
            told[MEDIAN] = round(float(np.median(hand)), 3) if len(hand) else None
            rows.append(OpenLoopRow(real.task, 1, decision + 1, int(going_on.sum()), **told, part=part))
    return rows


def last_decision(rows: Iterable[OpenLoopRow]) -> int:
    """The last one that at least half of the episodes reach: those that go on longer mostly fail, or play at random."""
    reached: Counter[int] = Counter()
    for row in rows:
        reached[row.decision] += row.episodes
    return max(decision for decision, episodes in reached.items() if 2 * episodes >= max(reached.values()))


def summarise(rows: Iterable[OpenLoopRow], part: str = "all") -> dict[str, float]:
    """Means over tasks at the ``last_decision`` of the measures that the rows of a part have.

    What the success head is worth is counted over all decisions, as few episodes end at the last: ``success_accuracy``,
    that of never saying "solved", and ``solved_known``, the share of the solved frames that it knows, if there are any.
    """
    rows = [row for row in rows if row.part == part]
    last = last_decision(rows)
    at_end = [row for row in rows if row.decision == last]
    found: dict[str, float] = {"decision": last}
    for name in (*QUALITY, MEDIAN):
        values = [getattr(row, name) for row in at_end]
        if None not in values:
            found[name] = sum(values) / len(values)
    if all(row.success_accuracy is not None for row in rows):
        counts = np.array([row.episodes for row in rows])
        right, solved, seen = (counts @ np.array([getattr(row, name) for row in rows]) for name in HEAD)
        found |= {"success_accuracy": right / counts.sum(), "never_accuracy": 1 - solved / counts.sum()}
        found |= {"solved_known": seen / solved} if solved else {}
    return found


HEADINGS = {
    "psnr_db": ("PSNR dB", 1, 1),
    "copy_psnr_db": ("PSNR dB, copying the start", 1, 1),
    "further_psnr_db": ("PSNR dB, further cameras", 1, 1),
    "object_error_cm": ("object cm", 1, 1),
    "hand_error_cm": ("hand cm", 1, 1),
    "hand_median_cm": ("hand cm, median", 1, 1),
    "success_accuracy": ("success head right, % of frames", 100, 1),
    "never_accuracy": ("never saying it, %", 100, 1),
    "solved_known": ("solved frames that it knows, %", 100, 0),
}
"""Heading, factor and digits of what a summary may have."""


def lines(summary: Mapping[str, float], part: str = "all") -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """The summary of a part as a table: title, header and its line."""
    shown = {name: how for name, how in HEADINGS.items() if name in summary}
    cells = tuple(f"{factor * summary[name]:.{digits}f}" for name, (_, factor, digits) in shown.items())
    title = f"Open-loop rollouts at decision {summary['decision']}" + ("" if part == "all" else f", {part} episodes")
    return title, tuple(how[0] for how in shown.values()), [cells]


def held_out_data(path: Path, limit: int | None, everything: bool) -> tuple[EpisodeArrays, bool]:
    """The episodes in a folder, and whether only those are to be used that training holds out of them."""
    episodes = load_episodes(path, limit_per_task=limit and limit * (1 if everything else HELD_OUT_EVERY))
    tested = read_metadata(path)[COLLECTION_KEY].get("split") == "test"
    return episodes, not (everything or tested)


def run(args: argparse.Namespace) -> None:
    """Measure, write the rows and say how it went."""
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out = Output.of(args)
    checkpoint = None if args.replay else load_checkpoint(args.checkpoint, args.device)
    out.note(f"reading {args.data}")
    episodes, held_out_only = held_out_data(args.data, args.episodes, args.all)
    if checkpoint is None:
        play = partial(replayed, episodes)
    else:
        checkpoint.check_fits(episodes.tasks, episodes, "the data", "collect data with the former")
        play = partial(imagined, checkpoint.simulator(args.sampler_steps))
    chosen, rows = choose(episodes, args.decisions, args.episodes, held_out_only), []
    with out.progress("rollouts", total=len(chosen)) as bar:
        for real in chosen:
            bar.describe(real.task)
            rows += measure(play(real), real)
            bar.advance()
    write_rows(args.out, rows, OpenLoopRow)
    found = {part: summarise(rows, part) for part in dict.fromkeys(row.part for row in rows)}
    count = sum(len(real.seeds) for real in chosen)
    told = Group(*(table(*lines(summary, part)) for part, summary in found.items()))
    out.result({"rows": str(args.out), "episodes": count, "summary": found["all"], "parts": found}, told)
    out.note(f"{count} episodes; rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.open_loop"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/open_loop.csv"), metavar="FILE.csv")
    parser.add_argument("--decisions", type=positive_int, default=35, help="length of a rollout (default: 35)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    text = "use every episode; only for data that the model was not trained on"
    parser.add_argument("--all", action="store_true", help=text)
    parser.add_argument("--replay", action="store_true", help="play the actions again in the real simulator instead")
    parser.add_argument("--sampler-steps", type=positive_int, default=1, help="denoising steps (default: 1)")
    add_model_arguments(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
