"""How long do imagined episodes stay true? Open-loop rollouts from the start of held-out episodes.

``python -m sfvgen_plan.benchmarks.fidelity.open_loop --data DATASET`` imagines each episode from its first frame under
the actions that were executed in it, f_g decisions in one pass, and compares every frame and state read-out with the
truth. Rows are means over the episodes of a task; an episode that ends early counts as far as it goes. Copying the
start frame is what a model has to beat. Of RLBench recordings the test split is played.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sfvgen_plan.arguments import add_model_arguments, positive_int, run_script
from sfvgen_plan.benchmarks.results.files import csv_text, write_text
from sfvgen_plan.console import Output, table
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes, read_metadata
from sfvgen_plan.data.minari_writer import COLLECTION_KEY, METADATA_FILE
from sfvgen_plan.data.rlbench import is_recording, load_recordings
from sfvgen_plan.devices import resolve_device
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import HELD_OUT_EVERY, held_out_episodes
from sfvgen_plan.metrics import psnr
from sfvgen_plan.metrics.readouts import error_cm

if TYPE_CHECKING:
    from sfvgen_plan.simulator import LearnedSimulator

MEASURES = ("psnr_db", "copy_psnr_db", "object_error_cm", "hand_error_cm", "success_accuracy", "solved", "solved_seen")
"""Of every decision of a rollout: ``success_accuracy`` is 1 where the success head says what is true, ``solved`` where
the episode is solved, ``solved_seen`` where it is and the head says so."""

COLUMNS = ("task", "f_g", "decision", "episodes", *MEASURES)
"""Of the rows; the object's error is empty where the read-outs have no object."""

Row = dict[str, Any]


@dataclass(frozen=True)
class RealEpisodes:
    """E real episodes of T decisions; after the end of a shorter one, its last moment repeats.

    Attributes:
        tasks: task names (E,).
        seeds: (E,) int64; the noise of a rollout depends on them alone.
        frames: (E, T+1, H, W, 3) uint8.
        actions: (E, T, A) float32 in [-1, 1].
        estimates: (E, T+1, D) float32, true values of the read-outs.
        success: (E, T) bool, solved at this decision.
        lengths: (E,) int64, decisions, at most T.
    """

    tasks: np.ndarray
    seeds: np.ndarray
    frames: np.ndarray
    actions: np.ndarray
    estimates: np.ndarray
    success: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.tasks)

    def part(self, start: int, count: int) -> RealEpisodes:
        """``count`` episodes from ``start`` on."""
        return RealEpisodes(*(getattr(self, field.name)[start : start + count] for field in fields(self)))


def choose(
    episodes: EpisodeArrays, decisions: int, per_task: int | None = None, held_out_only: bool = True
) -> RealEpisodes:
    """The first ``per_task`` held-out episodes of each task, cut to that many decisions.

    Raises:
        UserError: there is none, or none that is so long.
    """
    allowed = held_out_episodes(episodes.task).numpy() if held_out_only else np.ones(len(episodes), bool)
    chosen: list[int] = []
    for task in range(len(episodes.tasks)):
        chosen += np.flatnonzero(allowed & (episodes.task == task))[:per_task].tolist()
    if not chosen or episodes.lengths[chosen].max() < decisions:
        raise UserError(
            f"decisions={decisions}: the data has no {'held-out ' if held_out_only else ''}episode of that length "
            f"(one in {HELD_OUT_EVERY} of a task is held out); give fewer --decisions, more data, or --all"
        )
    # Place of every moment in the flat arrays; past the end of an episode its last.
    lengths = np.minimum(episodes.lengths[chosen], decisions)
    moments = episodes.episode_start[chosen][:, None] + np.minimum(np.arange(decisions + 1), lengths[:, None])
    steps = episodes.action_start[chosen][:, None] + np.minimum(np.arange(decisions), lengths[:, None] - 1)
    return RealEpisodes(
        np.array([episodes.tasks[task] for task in episodes.task[chosen]]),
        episodes.seed[chosen],
        episodes.frames[moments],
        episodes.actions[steps],
        episodes.estimates[moments],
        episodes.success[steps],
        lengths,
    )


def roll_out(simulator: LearnedSimulator, real: RealEpisodes, f_g: int) -> dict[str, np.ndarray]:
    """Each of ``MEASURES`` (E, T) after every decision, imagined ``f_g`` in one pass; the last pass may be shorter."""
    state = simulator.begin(real.frames[:, :1], real.tasks.tolist(), real.seeds.tolist())
    parts: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES}
    actions = torch.as_tensor(real.actions, device=simulator.device)
    for start in range(0, actions.shape[1], f_g):
        state, outcome = simulator.imagine(state, actions[:, start : start + f_g])
        assert outcome.latents is not None, "the learned simulator always has them"
        imagined, estimates = simulator.decode(outcome.latents), outcome.estimates.cpu().numpy()
        cut = slice(start + 1, start + 1 + imagined.shape[1])
        truth, solved = real.frames[:, cut], real.success[:, start : start + imagined.shape[1]]
        said = outcome.success.float().cpu().numpy() > 0.5
        measured = (
            psnr(imagined, truth),
            psnr(np.broadcast_to(real.frames[:, :1], truth.shape), truth),
            error_cm("object", estimates, real.estimates[:, cut]),
            error_cm("hand", estimates, real.estimates[:, cut]),
            said == solved,
            solved,
            said & solved,
        )
        for name, values in zip(MEASURES, measured, strict=True):
            parts[name].append(values)
    return {name: np.concatenate(values, axis=1) for name, values in parts.items()}


def measure(
    simulator: LearnedSimulator,
    real: RealEpisodes,
    chunks: Sequence[int],
    batch: int = 32,
    left_out: Sequence[str] = (),
    on_rollouts: Callable[[int, int], None] = lambda f_g, episodes: None,
) -> list[Row]:
    """Rows for every task, f_g and decision, measures that are ``left_out`` empty. ``on_rollouts(f_g, episodes)`` is
    told of finished ones."""
    rows: list[Row] = []
    for f_g in chunks:
        done = []
        for start in range(0, len(real), batch):
            done.append(roll_out(simulator, real.part(start, batch), f_g))
            on_rollouts(f_g, len(real.part(start, batch)))
        values = {name: np.concatenate([part[name] for part in done]) for name in MEASURES}
        for task in dict.fromkeys(real.tasks.tolist()):
            for decision in range(real.actions.shape[1]):
                going_on = (real.tasks == task) & (real.lengths > decision)
                if going_on.any():
                    row: Row = {"task": task, "f_g": f_g, "decision": decision + 1, "episodes": int(going_on.sum())}
                    means = {name: round(float(values[name][going_on, decision].mean()), 3) for name in MEASURES}
                    rows.append(row | means | dict.fromkeys(left_out, ""))
    return rows


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Means over tasks at the last decision, one for each f_g, of the measures that the rows have.

    What the success head is worth is counted over all decisions, as few episodes end at the last: ``success_accuracy``,
    that of never saying "solved", and ``solved_known``, the share of the solved frames that it knows, if there are any.

    Raises:
        ValueError: an f_g whose rollouts are shorter than the others'.
    """
    rows = list(rows)
    last = max(int(row["decision"]) for row in rows)
    summary = []
    for f_g in sorted({int(row["f_g"]) for row in rows}):
        every = [row for row in rows if int(row["f_g"]) == f_g]
        at_end = [row for row in every if int(row["decision"]) == last]
        if not at_end:
            raise ValueError(f"f_g={f_g} has no row of decision {last}")
        line: dict[str, float] = {"f_g": f_g, "decision": last}
        for name in MEASURES[:4]:
            if all(row[name] != "" for row in at_end):
                line[name] = sum(float(row[name]) for row in at_end) / len(at_end)
        if all(row["success_accuracy"] != "" for row in every):
            counts = np.array([float(row["episodes"]) for row in every])
            right, solved, seen = (counts @ np.array([float(row[name]) for row in every]) for name in MEASURES[4:])
            line |= {"success_accuracy": right / counts.sum(), "never_accuracy": 1 - solved / counts.sum()}
            line |= {"solved_known": seen / solved} if solved else {}
        summary.append(line)
    return summary


HEADINGS = {
    "psnr_db": ("PSNR dB", 1, 1),
    "copy_psnr_db": ("PSNR dB, copying the start", 1, 1),
    "object_error_cm": ("object cm", 1, 1),
    "hand_error_cm": ("hand cm", 1, 1),
    "success_accuracy": ("success head right, % of frames", 100, 1),
    "never_accuracy": ("never saying it, %", 100, 1),
    "solved_known": ("solved frames that it knows, %", 100, 0),
}
"""Heading, factor and digits of what a summary may have."""


def lines(summary: Sequence[Mapping[str, float]]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """The summary as a table: title, header and lines."""
    shown = [name for name in HEADINGS if any(name in line for line in summary)]

    def cell(line: Mapping[str, float], name: str) -> str:
        _, factor, digits = HEADINGS[name]
        return f"{factor * line[name]:.{digits}f}" if name in line else ""

    title = f"Open-loop rollouts at decision {summary[0]['decision']}"
    header = ("f_g", *(HEADINGS[name][0] for name in shown))
    return title, header, [(str(line["f_g"]), *(cell(line, name) for name in shown)) for line in summary]


def held_out_data(path: Path, limit: int | None, everything: bool) -> tuple[EpisodeArrays, bool]:
    """The episodes in a folder, and whether only those are to be used that training holds out of them."""
    if not (path / METADATA_FILE).is_file() and is_recording(path):
        return load_recordings(path, limit_per_task=limit, split="test"), False
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
    real = choose(episodes, args.decisions, args.episodes, held_out_only)
    left_out = () if "object_x" in episodes.source.readouts else ("object_error_cm",)
    simulator = checkpoint.simulator(args.sampler_steps)
    with out.progress("rollouts", total=len(real) * len(args.chunks)) as bar:

        def on_rollouts(f_g: int, count: int) -> None:
            bar.describe(f"rollouts, f_g {f_g}")
            bar.advance(count)

        rows = measure(simulator, real, args.chunks, args.batch, left_out, on_rollouts)
    write_text(args.out, csv_text([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]))
    summary = summarise(rows)
    out.result({"rows": str(args.out), "episodes": len(real), "summary": summary}, table(*lines(summary)))
    out.note(f"{len(real)} episodes; rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.fidelity.open_loop"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`, or RLBench recordings"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/rows/open_loop.csv"), metavar="FILE.csv")
    parser.add_argument("--decisions", type=positive_int, default=35, help="length of a rollout (default: 35)")
    parser.add_argument("--chunks", type=positive_int, nargs="+", default=[1, 4, 8], help="f_g (default: 1 4 8)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument(
        "--all", action="store_true", help="use every episode; only for data that the model was not trained on"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a pass (default: 3)")
    parser.add_argument("--batch", type=positive_int, default=32, help="episodes side by side (default: 32)")
    add_model_arguments(parser)
    return run_script(parser, run, arguments)


if __name__ == "__main__":
    sys.exit(main())
