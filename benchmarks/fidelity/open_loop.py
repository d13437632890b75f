"""How long do imagined episodes stay true? Open-loop rollouts from the start of held-out episodes.

``python -m sfvgen_plan.benchmarks.fidelity.open_loop --data DATASET`` imagines each episode from its first frame under
the actions that were executed in it, and compares every frame and state read-out with the truth. Rows are means over
the episodes of a task; an episode that ends early counts as far as it goes. Copying the start frame is what a model has
to beat. All episodes of a dataset of a test split are played.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import write_rows
from sfvgen_plan.console import Output, table
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes, read_metadata
from sfvgen_plan.data.minari_writer import COLLECTION_KEY
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import HELD_OUT_EVERY, held_out_episodes
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.simulator import LearnedSimulator

QUALITY = ("psnr_db", "copy_psnr_db", "further_psnr_db", "object_error_cm", "hand_error_cm")
HEAD = ("success_accuracy", "solved", "solved_seen")
MEASURES = (*QUALITY, *HEAD)


@dataclass(frozen=True)
class OpenLoopRow:
    """Means over the ``episodes`` of a task at a decision; None where nothing of that name is read out. PSNR is that of
    the first camera, ``further_psnr_db`` the mean of the others'; ``success_accuracy`` is 1 where the success head says
    what is true, ``solved`` where the episode is solved, ``solved_seen`` where it is and the head says so. ``f_g``, the
    decisions of a denoising pass, is 1: how many decisions are asked for at once makes no difference."""

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


@dataclass(frozen=True)
class RealEpisodes:
    """E real episodes of a task, of T decisions; after the end of a shorter one, its last moment repeats.

    Attributes:
        task: its name.
        seeds: (E,) int64; the noise of a rollout depends on them alone.
        descriptions: (E,) str, what each episode is about.
        frames: (E, T+1, H, W, 3) uint8.
        actions: (E, T, A) float32 in [-1, 1].
        estimates: (E, T+1, D) float32, true values of the read-outs.
        success: (E, T) bool, solved at this decision.
        lengths: (E,) int64, decisions, at most T.
    """

    task: str
    seeds: np.ndarray
    descriptions: np.ndarray
    frames: np.ndarray
    actions: np.ndarray
    estimates: np.ndarray
    success: np.ndarray
    lengths: np.ndarray


def choose(
    episodes: EpisodeArrays, decisions: int, per_task: int | None = None, held_out_only: bool = True
) -> list[RealEpisodes]:
    """The first ``per_task`` held-out episodes of each task, cut to that many decisions.

    Raises:
        UserError: there is none, or none that is so long.
    """
    allowed = held_out_episodes(episodes.task).numpy() if held_out_only else np.ones(len(episodes), bool)
    found = []
    for number, task in enumerate(episodes.tasks):
        own = np.flatnonzero(allowed & (episodes.task == number))[:per_task]
        # Place of every moment in the flat arrays; past the end of an episode its last.
        lengths = np.minimum(episodes.lengths[own], decisions)
        moments = episodes.episode_start[own][:, None] + np.minimum(np.arange(decisions + 1), lengths[:, None])
        steps = episodes.action_start[own][:, None] + np.minimum(np.arange(decisions), lengths[:, None] - 1)
        flat = (episodes.frames[moments], episodes.actions[steps], episodes.estimates[moments], episodes.success[steps])
        found.append(RealEpisodes(task, episodes.seed[own], episodes.descriptions[own], *flat, lengths))
    if max((real.lengths.max(initial=0) for real in found), default=0) < decisions:
        raise UserError(
            f"decisions={decisions}: the data has no {'held-out ' if held_out_only else ''}episode of that length "
            f"(one in {HELD_OUT_EVERY} of a task is held out); give fewer --decisions, more data, or --all"
        )
    return [real for real in found if len(real.seeds)]


def roll_out(simulator: LearnedSimulator, real: RealEpisodes) -> dict[str, np.ndarray]:
    """Each of ``MEASURES`` (E, T) after every decision; NaN where it can't be measured."""
    texts = [simulator.checkpoint.told(real.task, description) for description in real.descriptions]
    state = simulator.begin(real.frames[:, :1], [real.task] * len(real.seeds), real.seeds.tolist(), texts)
    _, outcome = simulator.imagine(state, torch.as_tensor(real.actions, device=simulator.device))
    assert outcome.latents is not None, "the learned simulator always has them"
    truth, names = real.frames[:, 1:], simulator.checkpoint.card.readouts
    estimates, said = outcome.estimates.cpu().numpy(), outcome.success.float().cpu().numpy() > 0.5

    def error(thing: str) -> np.ndarray:
        if f"{thing}_x" not in names:
            return np.full(said.shape, np.nan)
        return error_cm(thing, estimates, real.estimates[:, 1:], names)

    seen = by_picture(simulator.decode(outcome.latents), truth)
    copied = by_picture(np.broadcast_to(real.frames[:, :1], truth.shape), truth)
    return {
        "psnr_db": seen[:, :, 0],
        "copy_psnr_db": copied[:, :, 0],
        "further_psnr_db": seen[:, :, 1:].mean(-1) if seen.shape[2] > 1 else np.full(said.shape, np.nan),
        "object_error_cm": error("object"),
        "hand_error_cm": error("hand"),
        "success_accuracy": (said == real.success).astype(float),
        "solved": real.success.astype(float),
        "solved_seen": (said & real.success).astype(float),
    }


def by_picture(seen: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PSNR (E, T, K) of each of the K pictures in frames (E, T, K S, S, 3); NaN of those that no camera filmed."""
    size = truth.shape[-2]
    apart = [frames.reshape(*truth.shape[:2], -1, size, size, 3) for frames in (seen, truth)]
    return np.where(apart[1].any((-3, -2, -1)), psnr(*apart), np.nan)


def measure(simulator: LearnedSimulator, real: RealEpisodes) -> list[OpenLoopRow]:
    """A row for every decision."""
    rows, values = [], roll_out(simulator, real)
    for decision in range(real.lengths.max()):
        going_on = real.lengths > decision
        known = {name: own[~np.isnan(own)] for name in MEASURES for own in [values[name][going_on, decision]]}
        means: Any = {name: round(float(own.mean()), 3) if len(own) else None for name, own in known.items()}
        rows.append(OpenLoopRow(real.task, 1, decision + 1, int(going_on.sum()), **means))
    return rows


def last_decision(rows: Iterable[OpenLoopRow]) -> int:
    """The last one that at least half of the episodes reach: those that go on longer mostly fail, or play at random."""
    reached: Counter[int] = Counter()
    for row in rows:
        reached[row.decision] += row.episodes
    return max(decision for decision, episodes in reached.items() if 2 * episodes >= max(reached.values()))


def summarise(rows: Iterable[OpenLoopRow]) -> dict[str, float]:
    """Means over tasks at the ``last_decision`` of the measures that the rows have.

    What the success head is worth is counted over all decisions, as few episodes end at the last: ``success_accuracy``,
    that of never saying "solved", and ``solved_known``, the share of the solved frames that it knows, if there are any.
    """
    rows = list(rows)
    last = last_decision(rows)
    at_end = [row for row in rows if row.decision == last]
    found: dict[str, float] = {"decision": last}
    for name in QUALITY:
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
    "success_accuracy": ("success head right, % of frames", 100, 1),
    "never_accuracy": ("never saying it, %", 100, 1),
    "solved_known": ("solved frames that it knows, %", 100, 0),
}
"""Heading, factor and digits of what a summary may have."""


def lines(summary: Mapping[str, float]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """The summary as a table: title, header and its line."""
    shown = {name: how for name, how in HEADINGS.items() if name in summary}
    cells = tuple(f"{factor * summary[name]:.{digits}f}" for name, (_, factor, digits) in shown.items())
    return f"Open-loop rollouts at decision {summary['decision']}", tuple(how[0] for how in shown.values()), [cells]


def held_out_data(path: Path, limit: int | None, everything: bool) -> tuple[EpisodeArrays, bool]:
    """The episodes in a folder, and whether only those are to be used that training holds out of them."""
    episodes = load_episodes(path, limit_per_task=limit and limit * (1 if everything else HELD_OUT_EVERY))
    tested = read_metadata(path)[COLLECTION_KEY].get("split") == "test"
    return episodes, not (everything or tested)


def run(args: argparse.Namespace) -> None:
    """Measure, write the rows and say how it went."""
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out = Output.of(args)
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    out.note(f"reading {args.data}")
    episodes, held_out_only = held_out_data(args.data, args.episodes, args.all)
    checkpoint.check_fits(episodes.tasks, episodes, "the data", "collect data with the former")
    chosen = choose(episodes, args.decisions, args.episodes, held_out_only)
    simulator, rows = checkpoint.simulator(args.sampler_steps), []
    with out.progress("rollouts", total=len(chosen)) as bar:
        for real in chosen:
            bar.describe(real.task)
            rows += measure(simulator, real)
            bar.advance()
    write_rows(args.out, rows, OpenLoopRow)
    summary, count = summarise(rows), sum(len(real.seeds) for real in chosen)
    out.result({"rows": str(args.out), "episodes": count, "summary": summary}, table(*lines(summary)))
    out.note(f"{count} episodes; rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.open_loop"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`, or RLBench recordings"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/open_loop.csv"), metavar="FILE.csv")
    parser.add_argument("--decisions", type=positive_int, default=35, help="length of a rollout (default: 35)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument(
        "--all", action="store_true", help="use every episode; only for data that the model was not trained on"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=1, help="denoising steps (default: 1)")
    add_model_arguments(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
