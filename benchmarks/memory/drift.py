"""How far does a long imagination drift? ``python -m sfvgen_plan.benchmarks.memory.drift``, with and without memory.

The path of an episode of ``memory/revisit`` ends where it began, so it can be followed again and again: the model sees
the true frames of the first way out, and imagines all that follows, 1,000 decisions by default. Every further round
shows what the first one showed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sfvgen_plan.arguments import add_model_arguments, non_negative_int, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import merge_measurements
from sfvgen_plan.console import Output
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import unknown_name
from sfvgen_plan.memory.rows import ROWS

if TYPE_CHECKING:
    from sfvgen_plan.benchmarks.memory.revisit import Dream, TrueEpisode

COMMAND = "python -m sfvgen_plan.benchmarks.memory.drift"
COLUMNS = ("row", "episode", "decision", "psnr_db", "copy_psnr_db", "hand_error_cm", "checkpoint")
DECISIONS, SPAN = 1000, 100


@dataclass(frozen=True)
class Row:
    """Means over the imagined decisions of one span of one episode.

    Attributes:
        row: of the ablation.
        episode: its seed.
        decision: the last of the span, counted from the episode's start.
        psnr_db: imagined frame against the true one; ``copy_psnr_db``: the last frame that was shown, kept up.
        hand_error_cm: of the read-outs.
        checkpoint: hash of who imagined.
    """

    row: str
    episode: str
    decision: str
    psnr_db: str
    copy_psnr_db: str
    hand_error_cm: str
    checkpoint: str


class Span(NamedTuple):
    """The numbers of a ``Row``: last decision, PSNR, PSNR of the last frame shown, hand error in cm."""

    decision: int
    psnr_db: float
    copy_psnr_db: float
    hand_error_cm: float

    def row(self, row: str, episode: int, checkpoint: str) -> Row:
        """As stored."""
        quality, kept, error = (f"{value:.4g}" for value in self[1:])
        return Row(row, str(episode), str(self.decision), quality, kept, error, checkpoint)


def rounds(episode: TrueEpisode, decisions: int) -> TrueEpisode:
    """The episode's path followed again and again, ``decisions`` decisions in all, with the frames that this shows."""
    times = -(-decisions // len(episode.actions))

    def again(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[:1], *[values[1:]] * times])[: decisions + 1]

    actions = np.concatenate([episode.actions] * times)[:decisions]
    return replace(episode, frames=again(episode.frames), estimates=again(episode.estimates), actions=actions)


def spans(episode: TrueEpisode, dream: Dream, span: int) -> list[Span]:
    """Means of every ``span`` decisions that has imagined ones."""
    from sfvgen_plan.metrics import psnr
    from sfvgen_plan.metrics.readouts import error_cm

    first = episode.seen + 1
    truth = episode.frames[first:]
    quality = psnr(dream.frames, truth)
    kept = psnr(np.broadcast_to(episode.frames[episode.seen], truth.shape), truth)
    errors = error_cm("hand", dream.estimates, episode.estimates[first:])
    decisions = np.arange(first, len(episode.frames))
    found = []
    for last in range(span, len(episode.frames), span):
        chosen = (decisions > last - span) & (decisions <= last)
        if chosen.any():
            found.append(Span(last, *(float(values[chosen].mean()) for values in (quality, kept, errors))))
    return found


def run(args: argparse.Namespace) -> None:
    """Measure row by row; each is stored as soon as it is known."""
    from sfvgen_plan.benchmarks.memory import revisit as memory_revisit
    from sfvgen_plan.benchmarks.memory.bench import check_episodes
    from sfvgen_plan.envs.rendering import gl_backend
    from sfvgen_plan.memory.rows import simulator_of_row
    from sfvgen_plan.model.checkpoint import load_checkpoint

    out = Output.of(args)
    for row in args.row:
        if row not in ROWS:
            raise unknown_name("row", row, ROWS)
    seeds = range(args.seed, args.seed + args.episodes)
    check_episodes(seeds)
    gl_backend()
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    env = memory_revisit.revisit_env(checkpoint)
    try:
        away = memory_revisit.away_of(memory_revisit.CHUNK)
        episodes = [rounds(memory_revisit.true_episode(env, seed, away), args.decisions) for seed in seeds]
    finally:
        env.close()
    measured: list[Row] = []
    with out.progress("rows", total=len(args.row)) as bar:
        for row in args.row:
            dreams = memory_revisit.imagine_all(simulator_of_row(checkpoint, row, args.sampler_steps), episodes)
            rows = [
                found.row(row, episode.seed, checkpoint.hash)
                for episode, dream in zip(episodes, dreams, strict=True)
                for found in spans(episode, dream, args.span)
            ]
            store(args.out, rows)
            measured += rows
            bar.advance()
    out.result([dict(zip(COLUMNS, astuple(row), strict=True)) for row in measured], table(measured))
    out.note(f"rows: {args.out}")


def store(path: Path, rows: Sequence[Row]) -> None:
    """Put rows into the file. Those that another checkpoint has made for the same row of the ablation go: the table's
    means are over all episodes of a row.

    Raises:
        UserError: the file holds something else.
    """
    makers = {row.row: row.checkpoint for row in rows}
    merge_measurements(
        path,
        Row,
        ("row", "episode", "decision"),
        rows,
        lambda row: makers.get(row.row, row.checkpoint) == row.checkpoint,
    )


def summary(rows: Sequence[Row]) -> list[tuple[str, int, Span]]:
    """Of every row of the ablation and span: name, episodes, and means over them."""
    lines = []
    for name, last in dict.fromkeys((row.row, row.decision) for row in rows):
        part = [row for row in rows if (row.row, row.decision) == (name, last)]
        numbers = np.array([(row.psnr_db, row.copy_psnr_db, row.hand_error_cm) for row in part], float)
        lines.append((name, len(part), Span(int(last), *numbers.mean(0).tolist())))
    return lines


def table(rows: Sequence[Row]) -> str:
    """A line for every row of the ablation and span."""
    return "\n".join(
        f"{name:<20} to decision {span.decision:>5}  {span.psnr_db:5.2f} dB  "
        f"(kept up {span.copy_psnr_db:5.2f} dB)  hand {span.hand_error_cm:5.2f} cm"
        for name, _, span in summary(rows)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--row", nargs="+", default=["full", "no_temp_lora"], metavar="NAME", help="of the ablation")
    parser.add_argument("--episodes", type=positive_int, default=16, help="side by side (default: 16)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the first episode (default: 0)")
    parser.add_argument("--decisions", type=positive_int, default=DECISIONS, help="of an episode (default: 1000)")
    parser.add_argument("--span", type=positive_int, default=SPAN, help="decisions of a mean (default: 100)")
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a chunk (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/memory_drift.csv"), metavar="FILE.csv")
    add_model_arguments(parser, "the memory tasks")
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
