"""How long do imagined episodes stay true? Open-loop rollouts from the start of held-out episodes.

``python -m sfvgen_plan.benchmarks.open_loop --data DATASET`` imagines each episode from its first frame under the
actions that were executed in it, f_g decisions in one pass, and compares every frame and state read-out with the truth.
Rows are means over the episodes of a task. Copying the start frame is what a model has to beat.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sfvgen_plan.benchmarks.files import csv_text, write_text
from sfvgen_plan.cli.console import Output, add_output_arguments, exit_code
from sfvgen_plan.cli.devices import resolve_device
from sfvgen_plan.cli.options import positive_int
from sfvgen_plan.data.episodes import EpisodeArrays, load_episodes
from sfvgen_plan.errors import UserError
from sfvgen_plan.learning.data import HELD_OUT_EVERY, held_out_episodes
from sfvgen_plan.metrics import psnr
from sfvgen_plan.model.checkpoint import load_checkpoint
from sfvgen_plan.simulator import LearnedSimulator

METRICS = ("psnr_db", "copy_psnr_db", "object_error_cm", "hand_error_cm")
COLUMNS = ("task", "f_g", "decision", *METRICS)
HAND, OBJECT = slice(0, 3), slice(4, 7)
"""Places in ``sfvgen_plan.simulation.STATE_NAMES``."""

TARGET_PSNR_DB, TARGET_OBJECT_ERROR_CM = 26.0, 2.5


@dataclass(frozen=True)
class RealEpisodes:
    """E real episodes, all of T decisions.

    Attributes:
        tasks: task names (E).
        seeds: (E,) int64; the noise of a rollout depends on them alone.
        frames: (E, T+1, H, W, 3) uint8.
        actions: (E, T, A) float32 in [-1, 1].
        estimates: (E, T+1, D) float32, true values of ``STATE_NAMES``.
    """

    tasks: list[str]
    seeds: np.ndarray
    frames: np.ndarray
    actions: np.ndarray
    estimates: np.ndarray

    def __len__(self) -> int:
        return len(self.tasks)

    def part(self, start: int, count: int) -> RealEpisodes:
        """``count`` episodes from ``start`` on."""
        cut = slice(start, start + count)
        return RealEpisodes(self.tasks[cut], self.seeds[cut], self.frames[cut], self.actions[cut], self.estimates[cut])


def choose(
    episodes: EpisodeArrays, decisions: int, per_task: int | None = None, held_out_only: bool = True
) -> RealEpisodes:
    """The first ``per_task`` held-out episodes of each task that are at least ``decisions`` long, cut to that length.

    Raises:
        UserError: there is none.
    """
    allowed = held_out_episodes(episodes.task).numpy() if held_out_only else np.ones(len(episodes), bool)
    allowed &= episodes.lengths >= decisions
    chosen: list[int] = []
    for task in range(len(episodes.tasks)):
        chosen += np.flatnonzero(allowed & (episodes.task == task))[:per_task].tolist()
    if not chosen:
        raise UserError(
            f"decisions={decisions}: the data has no {'held-out ' if held_out_only else ''}episode of that length "
            f"(one in {HELD_OUT_EVERY} of a task is held out); give fewer --decisions, more data, or --all"
        )
    frames = np.stack([episodes.frames[s : s + decisions + 1] for s in episodes.episode_start[chosen]])
    estimates = np.stack([episodes.estimates[s : s + decisions + 1] for s in episodes.episode_start[chosen]])
    actions = np.stack([episodes.actions[s : s + decisions] for s in episodes.action_start[chosen]])
    tasks = [episodes.tasks[task] for task in episodes.task[chosen]]
    return RealEpisodes(tasks, episodes.seed[chosen], frames, actions, estimates)


def roll_out(simulator: LearnedSimulator, real: RealEpisodes, f_g: int) -> dict[str, np.ndarray]:
    """Each of ``METRICS`` (E, T) after every decision, imagined ``f_g`` in one pass; the last pass may be shorter."""
    state = simulator.begin(real.frames[:, :1], real.tasks, real.seeds.tolist())
    parts: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    actions = torch.as_tensor(real.actions, device=simulator.device)
    for start in range(0, actions.shape[1], f_g):
        state, outcome = simulator.imagine(state, actions[:, start : start + f_g])
        assert outcome.latents is not None
        imagined = simulator.decode(outcome.latents)
        cut = slice(start + 1, start + 1 + imagined.shape[1])
        truth = real.frames[:, cut]
        error = outcome.estimates.cpu().numpy() - real.estimates[:, cut]
        parts["psnr_db"].append(psnr(imagined, truth))
        parts["copy_psnr_db"].append(psnr(np.broadcast_to(real.frames[:, :1], truth.shape), truth))
        parts["object_error_cm"].append(100 * np.linalg.norm(error[..., OBJECT], axis=-1))
        parts["hand_error_cm"].append(100 * np.linalg.norm(error[..., HAND], axis=-1))
    return {name: np.concatenate(values, axis=1) for name, values in parts.items()}


def measure(
    simulator: LearnedSimulator,
    real: RealEpisodes,
    chunks: Sequence[int],
    batch: int = 32,
    on_rollouts: Callable[[int, int], None] | None = None,
) -> list[dict[str, str | int | float]]:
    """Rows of ``COLUMNS`` for every task, f_g and decision. ``on_rollouts(f_g, episodes)`` is told of finished ones."""
    rows: list[dict[str, str | int | float]] = []
    names = np.array(real.tasks)
    for f_g in chunks:
        done = []
        for start in range(0, len(real), batch):
            part = real.part(start, batch)
            done.append(roll_out(simulator, part, f_g))
            if on_rollouts is not None:
                on_rollouts(f_g, len(part))
        values = {name: np.concatenate([part[name] for part in done]) for name in METRICS}
        for task in dict.fromkeys(real.tasks):
            means = {name: values[name][names == task].mean(0) for name in METRICS}
            for decision in range(real.actions.shape[1]):
                numbers = {name: round(float(means[name][decision]), 3) for name in METRICS}
                rows.append({"task": task, "f_g": f_g, "decision": decision + 1, **numbers})
    return rows


def summarise(rows: Iterable[dict[str, str | int | float]]) -> list[dict[str, float]]:
    """Means over tasks at the last decision, one for each f_g, and whether they meet the targets."""
    rows = list(rows)
    last = max(int(row["decision"]) for row in rows)
    summary = []
    for f_g in dict.fromkeys(int(row["f_g"]) for row in rows):
        at_end = [row for row in rows if row["f_g"] == f_g and row["decision"] == last]
        means = {name: sum(float(row[name]) for row in at_end) / len(at_end) for name in METRICS}
        met = means["psnr_db"] >= TARGET_PSNR_DB and means["object_error_cm"] <= TARGET_OBJECT_ERROR_CM
        summary.append({"f_g": f_g, "decision": last, **means, "targets_met": met})
    return summary


def summary_text(summary: Iterable[dict[str, float]]) -> str:
    """The summary for people."""
    lines = [
        f"f_g {line['f_g']:>2}, decision {line['decision']}: PSNR {line['psnr_db']:.1f} dB "
        f"(target {TARGET_PSNR_DB:g}, copying the start {line['copy_psnr_db']:.1f}), "
        f"object error {line['object_error_cm']:.1f} cm (target {TARGET_OBJECT_ERROR_CM:g}), "
        f"hand error {line['hand_error_cm']:.1f} cm: {'met' if line['targets_met'] else 'missed'}"
        for line in summary
    ]
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measure, write the rows and say how it went."""
    out = Output.of(args)
    checkpoint = load_checkpoint(args.checkpoint, resolve_device(args.device))
    out.note(f"reading {args.data}")
    limit = args.episodes and args.episodes * (1 if args.all else HELD_OUT_EVERY)
    episodes = load_episodes(args.data, limit_per_task=limit)
    checkpoint.check_fits(episodes.tasks, episodes, "the data", "collect data with the former")
    real = choose(episodes, args.decisions, args.episodes, held_out_only=not args.all)
    simulator = checkpoint.simulator(args.sampler_steps, context_frames=args.context_frames)
    with out.progress("rollouts", total=len(real) * len(args.chunks)) as bar:

        def on_rollouts(f_g: int, count: int) -> None:
            bar.describe(f"rollouts, f_g {f_g}")
            bar.advance(count)

        rows = measure(simulator, real, args.chunks, args.batch, on_rollouts)
    write_text(args.out, csv_text([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]))
    summary = summarise(rows)
    out.result({"rows": str(args.out), "episodes": len(real), "summary": summary}, summary_text(summary))
    out.note(f"{len(real)} episodes; rows: {args.out}")


def main(arguments: Sequence[str] | None = None) -> int:
    program = "python -m sfvgen_plan.benchmarks.open_loop"
    parser = argparse.ArgumentParser(prog=program, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset written by `sfvgen-plan collect`")
    parser.add_argument("--checkpoint", metavar="PATH", help="checkpoint folder (default: the one in the package)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/open_loop.csv"), metavar="FILE.csv")
    parser.add_argument("--decisions", type=positive_int, default=35, help="length of a rollout (default: 35)")
    parser.add_argument("--chunks", type=positive_int, nargs="+", default=[1, 4, 8], help="f_g (default: 1 4 8)")
    parser.add_argument("--episodes", type=positive_int, metavar="N", help="at most N per task (default: all)")
    parser.add_argument(
        "--all", action="store_true", help="use every episode; only for data that the model was not trained on"
    )
    parser.add_argument("--sampler-steps", type=positive_int, default=3, help="denoising steps of a pass (default: 3)")
    parser.add_argument(
        "--context-frames", type=positive_int, help="clean frames of a pass (default: as in the checkpoint's training)"
    )
    parser.add_argument("--batch", type=positive_int, default=32, help="episodes side by side (default: 32)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_output_arguments(parser)
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
